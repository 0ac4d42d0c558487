/*
 * `node scripts/start.cjs SCRIPT.mjs …`: the scripts are written for Node 20, and an old Node would not even read them.
 * This file is plain enough for Node 12, which Ubuntu 22.04 has, so that it can say what is missing.
 */
const path = require('path');
const url = require('url');

const version = process.versions.node.split('.').map(Number);
if (version[0] < 20 || (version[0] === 20 && version[1] < 3)) {
  console.error(`pi-swarm: This is Node ${process.versions.node}; pi-swarm needs Node 20.3 or newer.`);
  console.error('On Debian 13, Ubuntu 24.10 or Raspberry Pi OS (trixie) and newer: sudo apt install nodejs npm');
  console.error('Elsewhere take it from https://nodejs.org/en/download, then run this again.');
  process.exit(7);
}
const script = path.join(__dirname, process.argv[2]);
process.argv.splice(1, 2, script);
import(url.pathToFileURL(script).href);
