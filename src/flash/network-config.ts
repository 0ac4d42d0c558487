/** Wi-Fi in cloud-init's `network-config` (version 2, the syntax of netplan). */
import { type Document, isMap } from 'yaml';
import { checkYaml, editYaml } from './yaml-edit.ts';

export interface Wifi {
  ssid: string;
  /** Undefined: an open network. */
  password: string | undefined;
}

/** Debian's name for the built-in Wi-Fi of every Pi; netplan cannot match Wi-Fi by anything else. */
const WIFI_INTERFACE = 'wlan0';

/** Where a card has no file yet: the cable, and nobody waits for it. */
const DEFAULT_TEXT = `version: 2
ethernets:
  eth0:
    dhcp4: true
    optional: true
`;

/** `country`: two letters; without `wifi` it changes the Wi-Fi that is there. @throws ConfigError */
export function editNetworkConfig(
  path: string,
  text: string | undefined,
  wifi: Wifi | undefined,
  country: string | undefined,
): string {
  const before = text === undefined || text.trim() === '' ? DEFAULT_TEXT : text;
  const { values } = checkYaml(path, before);
  // Both forms are read by cloud-init: with and without `network:` above all.
  const root = typeof values['network'] === 'object' ? ['network'] : [];
  return editYaml(before, document => {
    const at = (...keys: string[]) => [...root, ...keys];
    if (!document.hasIn(at('version'))) document.setIn(at('version'), 2);
    const place = at('wifis', WIFI_INTERFACE);
    if (wifi !== undefined) {
      makeBlock(document, at('wifis'));
      document.setIn(place, document.createNode(wifiBlock(wifi, document.getIn([...place, 'regulatory-domain']))));
    }
    if (country !== undefined && document.hasIn(place)) document.setIn([...place, 'regulatory-domain'], country);
  });
}

/** `wifis:` with nothing below it is null, into which nothing can be set. */
function makeBlock(document: Document, path: string[]): void {
  if (!isMap(document.getIn(path))) document.setIn(path, document.createNode({}));
}

const wifiBlock = ({ ssid, password }: Wifi, country: unknown) => ({
  dhcp4: true,
  // Without it the boot waits for a network that may be out of reach.
  optional: true,
  ...(typeof country === 'string' ? { 'regulatory-domain': country } : {}),
  'access-points': { [ssid]: password === undefined ? {} : { password } },
});

/** The names of the networks in a text. */
export function networksIn(path: string, text: string): string[] {
  const { values } = checkYaml(path, text);
  const root = asBlock(values['network'] ?? values);
  return Object.values(asBlock(root['wifis'])).flatMap(wifi => Object.keys(asBlock(asBlock(wifi)['access-points'])));
}

const asBlock = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
