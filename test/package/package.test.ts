/** What is in the .deb, and that the same source gives the same file. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it, test } from 'vitest';
import { debVersion } from '../../scripts/package/deb.ts';
import { commandTexts } from '../../scripts/package/help-texts.ts';
import { bundledPackages, copyrightFile, type Metafile } from '../../scripts/package/licences.ts';
import { COMMANDS, makeProgram } from '../../src/cli.ts';
import { buildDeb, ROOT, removeFoldersAtEnd, run, temporaryFolder } from './deb.ts';

removeFoldersAtEnd();

let deb: string;
let content: string;
let metafile: Metafile;
const read = (path: string) => readFileSync(join(content, path), 'utf8');

beforeAll(async () => {
  ({ file: deb, metafile } = await buildDeb());
  content = join(temporaryFolder(), 'content');
  run('dpkg-deb', '--raw-extract', deb, content);
}, 120_000);

describe('the file', () => {
  it('is named and described as Debian wants it', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const field = (name: string) => run('dpkg-deb', '--field', deb, name).trim();
    expect(deb.endsWith(`/pi-swarm_${version}-1_all.deb`)).toBe(true);
    expect([field('Package'), field('Version'), field('Architecture')]).toEqual(['pi-swarm', `${version}-1`, 'all']);
    expect(field('Depends')).toMatch(/nodejs \(>= 20\.3\)/);
    expect(Number(field('Installed-Size'))).toBeGreaterThan(1_000);
  });

  it('belongs to root, and nothing in it may be written by others or runs as another user', () => {
    const wrong = run('dpkg-deb', '--contents', deb)
      .trim()
      .split('\n')
      .filter(line => !/^(drwxr-xr-x|-rw-r--r--|-rwxr-xr-x|lrwxrwxrwx) root\/root /.test(line));
    expect(wrong).toEqual([]);
  });

  it('is the same, byte for byte, made by somebody with other rights, at another place, in another time zone', async () => {
    const [umask, zone] = [process.umask(0o077), process.env['TZ']];
    process.env['TZ'] = 'Pacific/Chatham';
    try {
      const { file } = await buildDeb();
      expect(file).not.toBe(deb);
      expect(readFileSync(file).equals(readFileSync(deb))).toBe(true);
    } finally {
      process.umask(umask);
      if (zone === undefined) delete process.env['TZ'];
      else process.env['TZ'] = zone;
    }
  }, 120_000);

  it('has nothing that lintian calls an error or a warning', () => {
    expect(run('lintian', '--allow-root', '--tag-display-limit', '0', '--fail-on', 'none', deb)).toBe('');
  }, 120_000);
});

describe('what it puts on a Pi', () => {
  it('is the program, which runs by its name', () => {
    expect(run('readlink', join(content, 'usr/bin/pi-swarm')).trim()).toBe('../lib/pi-swarm/pi-swarm.mjs');
    expect(read('usr/lib/pi-swarm/pi-swarm.mjs')).toMatch(/^#!\/usr\/bin\/node\n/);
    expect(run(process.execPath, join(content, 'usr/bin/pi-swarm'), 'version')).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('is the unit, the settings and the fragments of this repository', () => {
    const same = [
      ['usr/lib/systemd/system/pi-swarm.service', 'systemd/pi-swarm.service'],
      ['usr/lib/sysusers.d/pi-swarm.conf', 'systemd/pi-swarm.sysusers.conf'],
      ['usr/lib/tmpfiles.d/pi-swarm.conf', 'systemd/pi-swarm.tmpfiles.conf'],
      ['etc/pi-swarm/config.yaml', 'docs/config.example.yaml'],
    ] as const;
    for (const [there, here] of same) expect(read(there), there).toBe(readFileSync(join(ROOT, here), 'utf8'));
    expect(read('DEBIAN/conffiles')).toBe('/etc/pi-swarm/config.yaml\n');
  });

  it('has a checksum for every file but the settings', () => {
    const listed = read('DEBIAN/md5sums')
      .trim()
      .split('\n')
      .map(line => line.split('  ')[1]);
    const files = run('find', content, '-type', 'f', '-not', '-path', '*/DEBIAN/*', '-printf', '%P\n')
      .trim()
      .split('\n');
    expect(listed.sort()).toEqual(files.filter(path => path !== 'etc/pi-swarm/config.yaml').sort());
    expect(run('sh', '-c', `cd ${content} && md5sum --quiet -c DEBIAN/md5sums`)).toBe('');
  });

  it('names every package that is in the bundle, with a text for each licence', () => {
    const copyright = read('usr/share/doc/pi-swarm/copyright');
    const packages = bundledPackages(metafile);
    expect(packages).toContain('node_modules/dockerode');
    expect(packages.filter(folder => !copyright.includes(`Files: ${folder}/*\n`))).toEqual([]);
    const used = [...copyright.matchAll(/^License: (\S+)(?: and (\S+))?\nComment/gm)].flatMap(([, ...names]) => names);
    expect(used.length).toBeGreaterThanOrEqual(packages.length);
    for (const name of used) if (name) expect(copyright).toMatch(new RegExp(`^License: ${name}\\n .{20}`, 'm'));
  });

  it('stops the build for a licence that nobody has looked at', () => {
    const strange = temporaryFolder();
    const folder = join(strange, 'node_modules/strange');
    run('mkdir', '-p', folder);
    run('sh', '-c', `echo '{"name":"strange","version":"1.0.0","license":"AGPL-3.0"}' >${folder}/package.json`);
    const outputs = { 'x.mjs': { inputs: { 'node_modules/strange/index.js': { bytesInOutput: 1 } } } };
    expect(() => copyrightFile(strange, { outputs })).toThrow(/strange is under "AGPL-3.0"/);
  });
});

describe('the manual page', () => {
  const page = () => gunzipSync(readFileSync(join(content, 'usr/share/man/man1/pi-swarm.1.gz')));

  it('is one that man shows without a warning, with every command and its options', async () => {
    const file = join(temporaryFolder(), 'pi-swarm.1');
    run('sh', '-c', `gunzip -c ${content}/usr/share/man/man1/pi-swarm.1.gz >${file}`);
    const shown = run('sh', '-c', `MANWIDTH=200 man --warnings -l ${file} 2>&1`);
    expect(shown).not.toMatch(/warning|error:/);
    const texts = commandTexts(await makeProgram(() => true));
    expect(texts.length).toBeGreaterThan(Object.keys(COMMANDS).length);
    for (const { usage, options } of texts) {
      expect(shown).toContain(usage);
      for (const { term } of options) if (!term.includes('--help')) expect(shown).toContain(term);
    }
  });

  it('shows code as it is typed', () => {
    // What roff would turn into typographic quotes, dashes and accents.
    expect(page().toString()).toContain('jq \\-r \\(aq.[] | select(.kind == "lost") | .durationMs\\(aq');
  });
});

describe('completion', () => {
  /** What bash offers for the last of these words. */
  const offered = (...words: string[]): string[] => {
    const script = `source ${content}/usr/share/bash-completion/completions/pi-swarm
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pi_swarm; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return run('bash', '-uc', script, 'bash', ...words)
      .split('\n')
      .filter(line => line !== '');
  };

  it('offers every command, and those of help', () => {
    expect(offered('pi-swarm', '')).toEqual(expect.arrayContaining([...Object.keys(COMMANDS), 'help']));
    expect(offered('pi-swarm', 'help', '')).toEqual(Object.keys(COMMANDS));
    expect(offered('pi-swarm', 'reb')).toEqual(['rebalance']);
  });

  it('offers what belongs to the command, also behind options and their values', () => {
    expect(offered('pi-swarm', 'drain', '--u')).toEqual(['--undo']);
    expect(offered('pi-swarm', '--config', 'status', 'lab', 'power-')).toEqual(['power-cut', 'power-on']);
    expect(offered('pi-swarm', 'lab', 'up', '--na')).toEqual(['--name']);
    expect(offered('pi-swarm', 'deploy', '--name', '')).toEqual([]);
  });

  it('offers files where one is asked for', () => {
    expect(offered('pi-swarm', '--config', `${content}/etc/pi-swarm/con`)).toEqual([
      `${content}/etc/pi-swarm/config.yaml`,
    ]);
  });
});

test('a version before a release is older than the release', () => {
  expect([debVersion('0.2.0-rc.1'), debVersion('0.2.0')]).toEqual(['0.2.0~rc.1-1', '0.2.0-1']);
  expect(() => run('dpkg', '--compare-versions', debVersion('0.2.0-rc.1'), 'lt', debVersion('0.2.0'))).not.toThrow();
});
