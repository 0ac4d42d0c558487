/** What cloud-init 25.1 (Debian 13) reads at the first level of user-data: its schema-cloud-config-v1.json. */
export const CLOUD_CONFIG_KEYS: readonly string[] = [];

/** Netplan's first level (https://netplan.readthedocs.io/en/stable/netplan-yaml/). */
export const NETWORK_KEYS: readonly string[] = [
  ...['version', 'renderer', 'ethernets', 'wifis', 'bonds', 'bridges', 'vlans', 'tunnels', 'modems', 'vrfs'],
  ...['dummy-devices', 'virtual-ethernets', 'nm-devices', 'openvswitch'],
];
