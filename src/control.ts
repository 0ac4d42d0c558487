/** The local control socket: HTTP/1.1 with JSON over a unix socket, for the command line on the same Pi. */
export { type AgentAddress, type CallOptions, callAgent, fetchSnapshot } from './control/client.ts';
export { type ControlHandlers, type ControlServer, startControl } from './control/server.ts';
export { CONTROL_LIMITS, DEFAULT_SOCKET, JUST_STARTED } from './control/wire.ts';
