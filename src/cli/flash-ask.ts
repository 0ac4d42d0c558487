/** Questions of `flash`: only on a terminal, and Ctrl-C ends them like everything else. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { UsageError } from '../errors.ts';

export const canAsk = (): boolean => process.stdin.isTTY === true && process.stderr.isTTY === true;

/** @param onInterrupt a terminal in the middle of a question tells Ctrl-C to the question only */
export async function askLine(question: string, signal: AbortSignal, onInterrupt: () => void): Promise<string> {
  return asked(question, process.stderr, signal, onInterrupt);
}

/** What is typed is not shown. @throws UsageError without a terminal */
export async function askHidden(question: string, signal: AbortSignal, onInterrupt: () => void): Promise<string> {
  if (!canAsk()) {
    throw new UsageError(
      'there is no terminal to ask for the password of the Wi-Fi',
      'Give it in a file: --wifi-password-file FILE.',
    );
  }
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  try {
    // The question stands there only when the terminal shows nothing any more.
    return await asked('', nowhere, signal, onInterrupt, () => process.stderr.write(question));
  } finally {
    process.stderr.write('\n');
  }
}

async function asked(
  question: string,
  output: Writable,
  signal: AbortSignal,
  onInterrupt: () => void,
  onReady?: () => void,
): Promise<string> {
  const line = createInterface({ input: process.stdin, output, terminal: true });
  line.on('SIGINT', onInterrupt);
  onReady?.();
  const ended = new Promise<string>(resolve => line.once('close', () => resolve('')));
  try {
    // Ctrl-D closes it without an answer.
    return (await Promise.race([line.question(question, { signal }), ended])).trim();
  } finally {
    line.close();
  }
}
