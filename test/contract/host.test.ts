import { tmpdir } from 'node:os';
import { MachineHost } from '../../src/io/host.ts';
import { FakeHost } from '../fakes/host.ts';
import { hostContract } from './host.ts';

hostContract('fake', () => new FakeHost());
hostContract('this machine', () => new MachineHost({ stateDir: tmpdir() }));
