/** Completion for bash, from the table of commands. */
import type { CommandText } from './help-texts.ts';

const PROGRAM = 'pi-swarm';

/** @returns a script for /usr/share/bash-completion/completions; it needs nothing but bash 4 */
export function bashCompletion(texts: readonly CommandText[]): string {
  const [top] = texts;
  const everywhere =
    top?.options.filter(({ words }) => words.some(word => /^--(socket|config|debug)$/.test(word))) ?? [];
  const known = new Set(texts.map(({ path }) => path));
  const cases = texts.map(({ path, options, subcommands }) => {
    const own = options.flatMap(({ words }) => words);
    const words = new Set([
      ...subcommands.map(({ name }) => name),
      ...own,
      ...everywhere.flatMap(({ words }) => words),
    ]);
    return `    ${quoted(path)}) words=${quoted([...words].join(' '))} ;;`;
  });
  // `pi-swarm help deploy`
  const helped = texts
    .filter(({ subcommands }) => subcommands.some(({ name }) => name === 'help'))
    .map(({ path, subcommands }) => {
      const names = subcommands.map(({ name }) => name).filter(name => name !== 'help');
      return `    ${quoted(`${path} help`)}) words=${quoted(names.join(' '))} ;;`;
    });
  const all = texts.flatMap(({ options }) => options);
  const patterns = (value: 'path' | 'other') =>
    [...new Set(all.filter(option => option.value === value).flatMap(({ words }) => words))].join('|');
  return `# Completion of ${PROGRAM} for bash; made from its table of commands.
_pi_swarm() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path=${PROGRAM} words='' skip='' word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ $skip ]]; then skip=''; continue; fi
    case $word in
      ${patterns('path')}|${patterns('other')}) skip=1; continue ;;
    esac
    case "$path $word" in
      ${[...known]
        .filter(path => path !== PROGRAM)
        .map(quoted)
        .join('|')}|${helped.map(line => line.trim().split(')')[0]).join('|')}) path="$path $word" ;;
    esac
  done
  case $previous in
    ${patterns('path')}) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    ${patterns('other')}) return ;;
  esac
  case $path in
${[...cases, ...helped].join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o default -F _pi_swarm ${PROGRAM}
`;
}

const quoted = (text: string): string => `'${text}'`;
