/** Why the broker cannot be used, in words, with the cure. */
import type { MqttConfig } from '../config.ts';
import { messageOf } from '../errors.ts';
import { redact } from '../redact.ts';

const UNKNOWN_CA = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);
const NOT_REACHED = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'ETIMEDOUT']);

/** Return codes of CONNACK: MQTT 3.1.1 §3.2.2.3. */
const CONNACK_IDENTIFIER = 2;
const CONNACK_UNAVAILABLE = 3;
const CONNACK_PASSWORD = 4;
const CONNACK_NOT_AUTHORIZED = 5;

/** One or two sentences: what happened, what to do. Never holds the password. */
export function brokerProblem(error: unknown, config: MqttConfig): string {
  const { code, path } = (error ?? {}) as { code?: string | number; path?: string };
  const broker = config.url;
  if (typeof code === 'number') return connackProblem(code, config);
  if (path !== undefined && (code === 'ENOENT' || code === 'EACCES')) {
    return `${path} cannot be read (${code}). Correct the path in the mqtt settings, or the file's permissions.`;
  }
  if (code === 'ECONNREFUSED') return `Nothing listens at ${broker}. Start the broker, or correct mqtt.url.`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return `The name in ${broker} is not known. Correct mqtt.url, or use the broker's IPv4 address.`;
  }
  if (NOT_REACHED.has(String(code)) || messageOf(error) === 'connack timeout') {
    return `${broker} does not answer. Check that the broker is switched on and on this network, and mqtt.url.`;
  }
  return tlsProblem(String(code), config) ?? `${broker}: ${redact(messageOf(error))}. Look into the broker's log.`;
}

function connackProblem(code: number, { url, username }: MqttConfig): string {
  if (code === CONNACK_PASSWORD || code === CONNACK_NOT_AUTHORIZED) {
    return username === undefined
      ? `${url} wants a user name and a password. Set mqtt.username and mqtt.passwordFile.`
      : `${url} refuses the user name or the password. Correct mqtt.username and mqtt.passwordFile (or mqtt.password).`;
  }
  if (code === CONNACK_IDENTIFIER) return `${url} refuses the client id. Allow ids that begin with pi-swarm- there.`;
  if (code === CONNACK_UNAVAILABLE) return `${url} says that it is unavailable. Look into the broker's log.`;
  return `${url} refuses the connection (code ${code}). It must speak MQTT 3.1.1.`;
}

function tlsProblem(code: string, { url }: MqttConfig): string | undefined {
  if (UNKNOWN_CA.has(code)) {
    return `${url} shows a certificate of a CA that is not known here. Set mqtt.ca to the PEM file of that CA.`;
  }
  if (code === 'CERT_HAS_EXPIRED') return `The certificate of ${url} has expired. Renew it; or set this Pi's clock.`;
  if (code === 'CERT_NOT_YET_VALID') return `The certificate of ${url} is not valid yet. Set this Pi's clock.`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `The certificate of ${url} is for another name. Use the name from the certificate in mqtt.url.`;
  }
  if (code === 'EPROTO' || /WRONG_VERSION_NUMBER|PACKET_LENGTH/.test(code)) {
    return `${url} does not speak TLS. Use mqtt:// instead of mqtts://, or the broker's TLS port (usually 8883).`;
  }
  if (/ALERT.*CERT/.test(code))
    return `${url} wants a client certificate, or refuses this one. Set mqtt.cert and mqtt.key.`;
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    return `${url} closed the connection. Where it speaks TLS, use mqtts://; else look into the broker's log.`;
  }
  return undefined;
}
