/** cloud-init's `user-data`: checked before it is on a card, where a mistake would be found without screen and keyboard. */
import { type Document, isMap, isSeq } from 'yaml';
import { nearest } from '../config-yaml.ts';
import { ConfigError } from '../errors.ts';
import { CLOUD_CONFIG_KEYS } from '../machine/cloud-config-keys.ts';
import { checkYaml, editYaml } from './yaml-edit.ts';

const HEADER = '#cloud-config';

/**
 * @returns warnings, each `file:line:column: …`, for keys that cloud-init does not know
 * @throws ConfigError no `#cloud-config` in the first line (cloud-init would ignore the file), or broken YAML
 */
export function checkUserData(path: string, text: string): string[] {
  const [first = ''] = text.split('\n', 1);
  if (first.trimEnd() !== HEADER) {
    const why = first.startsWith('\ufeff')
      ? 'the file begins with a byte order mark; save it as UTF-8 without one'
      : `the first line is not ${HEADER}: cloud-init would ignore the whole file`;
    throw new ConfigError(`${path}:1:1: ${why}`, `Write ${HEADER} into the first line, and nothing else.`);
  }
  const { values, positions } = checkYaml(path, text);
  if (typeof values !== 'object' || Array.isArray(values)) {
    throw new ConfigError(`${path}:2:1: expected settings, one \`key: value\` on each line`, `Correct ${path}.`);
  }
  return Object.keys(values)
    .filter(key => !CLOUD_CONFIG_KEYS.includes(key))
    .map(key => {
      const { line, column } = positions.get(`${key}#key`) ?? { line: 1, column: 1 };
      const hint = nearest(key, CLOUD_CONFIG_KEYS);
      return `${path}:${line}:${column}: cloud-init knows no ${key}${hint === undefined ? '' : `; did you mean ${hint}?`}`;
    });
}

export interface UserDataChange {
  hostname?: string;
  /** Who may log in instead of the image's own user. */
  userName?: string;
  /** Lines as in authorized_keys: of that user, or of the image's own. No password is ever set. */
  sshKeys?: readonly string[];
}

/** The text with these settings; all else stays. It has to have passed `checkUserData`. */
export function editUserData(text: string, { hostname, userName, sshKeys }: UserDataChange): string {
  if (hostname === undefined && userName === undefined && sshKeys === undefined) return text;
  const rest = text.slice(text.indexOf('\n') + 1 || text.length);
  const edited = editYaml(rest, document => {
    if (hostname !== undefined) document.set('hostname', hostname);
    if (userName !== undefined) setUser(document, userName, sshKeys);
    else if (sshKeys !== undefined) document.set('ssh_authorized_keys', document.createNode([...sshKeys]));
  });
  return `${HEADER}\n${edited}`;
}

function setUser(document: Document, name: string, sshKeys: readonly string[] | undefined): void {
  const users = document.get('users');
  const list = isSeq(users) ? users.items : [];
  const old = list.find(item => isMap(item) && item.get('name') === name);
  const keys = document.createNode([...(sshKeys ?? [])]);
  if (isMap(old)) {
    if (sshKeys !== undefined) old.set('ssh_authorized_keys', keys);
  } else if (isSeq(users)) users.add(document.createNode(newUser(name, sshKeys)));
  else document.set('users', document.createNode([newUser(name, sshKeys)]));
}

/** As the image's own user: may administer, and logs in with a key only. */
const newUser = (name: string, sshKeys: readonly string[] | undefined) => ({
  name,
  groups: 'adm, sudo, docker, pi-swarm, netdev',
  shell: '/bin/bash',
  sudo: 'ALL=(ALL) NOPASSWD:ALL',
  lock_passwd: true,
  ...(sshKeys === undefined ? {} : { ssh_authorized_keys: sshKeys }),
});

/** Hostname, users and number of keys of a text, as far as it says them. */
export function readUserData(
  path: string,
  text: string,
): { hostname: string | undefined; users: string[]; sshKeys: number } {
  const { values } = checkYaml(path, text);
  const users = listOf(values['users']).map(user =>
    typeof user === 'object' && user !== null ? (user as Record<string, unknown>) : { name: user },
  );
  const keys = [values, ...users].flatMap(holder => listOf(holder['ssh_authorized_keys']));
  return {
    hostname: typeof values['hostname'] === 'string' ? values['hostname'] : undefined,
    users: users.flatMap(({ name }) => (typeof name === 'string' && name !== 'default' ? [name] : [])),
    sshKeys: keys.length,
  };
}

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
