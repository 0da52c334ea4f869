// Read diagrams, a JSON list on standard input, with the Mermaid of the folder given; print what each is.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const [folder] = process.argv.slice(2);
const { window } = new (createRequire(folder + '/')('jsdom').JSDOM)('');
Object.assign(globalThis, { window, document: window.document });
const { default: mermaid } = await import(pathToFileURL(folder + '/node_modules/mermaid/dist/mermaid.core.mjs'));
for (const text of JSON.parse(fs.readFileSync(0, 'utf8')))
  console.log(await mermaid.parse(text).then((found) => found.diagramType, (error) => error.message.split('\n')[0]));
process.exit(0);
