/** What is in the image: every package with its version and licences, from dpkg's own files. */
import { readFile } from 'node:fs/promises';

export interface PackageLine {
  name: string;
  version: string;
  architecture: string;
  source: string;
  /** As the package's copyright file names them; empty where it is not in the machine-readable form. */
  licences: string[];
}

/** `/var/lib/dpkg/status`: paragraphs of `Field: value` (deb822(5)). Pure; sorted by name. */
export function packagesFrom(status: string): Omit<PackageLine, 'licences'>[] {
  const packages = status.split(/\n\n+/).flatMap(paragraph => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(paragraph)?.[1];
    const name = field('Package');
    if (name === undefined || !/^install ok installed$/.test(field('Status') ?? '')) return [];
    const source = field('Source')?.split(' ')[0] ?? name;
    return [{ name, version: field('Version') ?? '', architecture: field('Architecture') ?? '', source }];
  });
  return packages.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The short names in a machine-readable copyright file (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/). Pure. */
export function licencesFrom(copyright: string): string[] {
  if (!/^Format:/m.test(copyright)) return [];
  const names = [...copyright.matchAll(/^License:[ \t]*(\S.*?)[ \t]*$/gim)].map(match => match[1] ?? '');
  return [...new Set(names)].sort();
}

export async function packagesIn(root: string): Promise<PackageLine[]> {
  const packages = packagesFrom(await readFile(`${root}/var/lib/dpkg/status`, 'utf8'));
  return Promise.all(
    packages.map(async line => {
      const text = await readFile(`${root}/usr/share/doc/${line.name}/copyright`, 'utf8').catch(() => '');
      return { ...line, licences: licencesFrom(text) };
    }),
  );
}
