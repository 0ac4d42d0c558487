/** Runs inside a Pi: reads wishes as JSON lines, keeps the mesh by them, answers each with the status. `"remove"` ends it. */
import { createInterface } from 'node:readline';
import { MeshReconciler, type MeshWish } from '../../src/mesh.ts';

const mesh = new MeshReconciler({ mode: 'nftables', checkMs: 500 });
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const wish = JSON.parse(line) as MeshWish | 'remove';
  if (wish === 'remove') {
    await mesh.stop({ remove: true });
    say({ removed: true });
    break;
  }
  mesh.update(wish);
  await mesh.settled();
  say(mesh.status());
}
