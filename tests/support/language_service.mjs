// Validate workflows and actions with GitHub's language service, of the folder given first; print what was found.
import { createRequire, register } from 'node:module';
import { pathToFileURL } from 'node:url';
import fs from 'node:fs';
// It imports JSON in the way that bundlers know, and Node does not.
const hook = `import { readFile } from 'node:fs/promises';
export async function load(url, context, next) {
  if (!url.endsWith('.json')) return next(url, context);
  return { format: 'module', shortCircuit: true, source: 'export default ' + await readFile(new URL(url)) };
}`;
register('data:text/javascript,' + encodeURIComponent(hook));
const packages = process.argv[2] + '/node_modules/';
const { validate } = await import(pathToFileURL(packages + '@actions/languageservice/dist/index.js'));
const { TextDocument } = createRequire(packages)('vscode-languageserver-textdocument');
const found = [];
for (const path of process.argv.slice(3)) {
  const text = TextDocument.create(pathToFileURL(path).href, 'yaml', 0, fs.readFileSync(path, 'utf8'));
  for (const item of await validate(text)) {
    found.push({ path, line: item.range.start.line + 1, message: item.message });
  }
}
console.log(JSON.stringify(found));
