/** The documents say what the program says. `npx vitest run test/cli/docs.test.ts -u` writes docs/cli.md anew. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { COMMANDS, makeProgram } from '../../src/cli.ts';

const root = join(import.meta.dirname, '..', '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: more => {
      text += more;
    },
  });
  command.outputHelp();
  return text.trimEnd();
}

function* sections(command: Command, path: string): Generator<string> {
  yield `## ${path}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\`\n`;
  for (const sub of command.commands) if (sub.name() !== 'help') yield* sections(sub, `${path} ${sub.name()}`);
}

test('docs/cli.md is what the help says', async () => {
  const program = await makeProgram(() => true);
  const intro =
    '# The command line\n\nMade from the program’s own help; `npx vitest run test/cli/docs.test.ts -u` writes it anew.\n\n' +
    'Results go to standard output, progress and errors to standard error. An error says what happened on its first line\n' +
    'and what to do on the next. `--json` is for programs: its shapes are those of `src/core/snapshot.ts` and `src/commands/types.ts`.\n\n';
  await expect(intro + [...sections(program, 'pi-swarm')].join('\n')).toMatchFileSnapshot(join(root, 'docs/cli.md'));
});

test('every command has examples', async () => {
  const program = await makeProgram(() => true);
  for (const command of program.commands) {
    const own = command.commands.length > 0 && command.name() === 'secret' ? command.commands : [command];
    for (const one of own) expect(helpOf(one), one.name()).toMatch(/Examples:\n {2}/);
  }
  expect(program.commands.map(command => command.name())).toEqual(Object.keys(COMMANDS));
});

/** Words in backquotes at the start of a row of a table. */
const explained = new Set(
  [...read('docs/troubleshooting.md').matchAll(/^\| `([a-z0-9-]+)`/gm)].map(([, word]) => word),
);

test('docs/troubleshooting.md explains every kind of notice', () => {
  const text = read('src/core/notices.ts');
  const kinds = [...text.matchAll(/kind: '([a-z-]+)'/g)].map(([, kind]) => kind);
  const made = ['engine-absent', 'engine-slow', 'swarm-pending', 'swarm-error'];
  expect(kinds.length).toBeGreaterThan(5);
  expect([...kinds, ...made].filter(kind => !explained.has(kind))).toEqual([]);
});

test('docs/troubleshooting.md explains every check of doctor', () => {
  const files = readdirSync(join(root, 'src/cli')).filter(name => /^doctor-(machine|docker|cluster)\.ts$/.test(name));
  const text = files.map(name => read(`src/cli/${name}`)).join('\n');
  const names = [...text.matchAll(/\b(?:ok|warning|error)\(\s*'([a-z-]+)'|const name = '([a-z-]+)'/g)].map(
    ([, a, b]) => a ?? b,
  );
  expect(names.length).toBeGreaterThan(15);
  expect([...names, 'vxlan', 'bridge', 'overlay', 'port'].filter(name => !explained.has(name))).toEqual([]);
});
