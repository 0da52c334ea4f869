// Validate workflows and actions with GitHub's language service, of the folder given first; print what was found.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import fs from 'node:fs';
const require = createRequire(process.argv[2] + '/');
const { validate } = await import(pathToFileURL(require.resolve('@actions/languageservice')));
const { TextDocument } = await import(pathToFileURL(require.resolve('vscode-languageserver-textdocument')));
const found = [];
for (const path of process.argv.slice(3)) {
  const text = TextDocument.create(pathToFileURL(path).href, 'yaml', 0, fs.readFileSync(path, 'utf8'));
  for (const item of await validate(text)) {
    found.push({ path, line: item.range.start.line + 1, message: item.message });
  }
}
console.log(JSON.stringify(found));
