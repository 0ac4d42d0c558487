/** Takes secrets out of texts before anybody sees them. The last line of defence: secrets should not get here at all. */

const PATTERNS: readonly [RegExp, string][] = [
  // The cluster secret; also misspelt ones, so any run of its alphabet and separators.
  [/PISW1-[0-9A-Za-z-]+/gi, 'PISW1-[secret]'],
  // Docker's join tokens: SWMTKN-1-<digest of the CA>-<secret>.
  [/SWMTKN-[0-9A-Za-z-]+/g, 'SWMTKN-[secret]'],
  [/SWMKEY-[0-9A-Za-z+/=-]+/g, 'SWMKEY-[secret]'],
  // PEM, also inside a JSON string (newlines as \n), also cut off before its end. PEM holds no quotes: the rest stays JSON.
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"]*?-----END [A-Z ]*PRIVATE KEY-----|[^"]*)/g, '[private key]'],
  // scheme://user:password@host
  [/([a-z][a-z0-9+.-]*:\/\/[^\s/:@"]*):[^\s/@"]+@/gi, '$1:[secret]@'],
  // "password":"…" at any depth of a JSON line.
  [
    /"(password|passphrase|secret|token|joinToken|workerToken|unlockKey|privateKey)":"(?:[^"\\]|\\.)*"/g,
    '"$1":"[secret]"',
  ],
];

/** Cheap test first: most log lines hold nothing of the kind. */
const SUSPICIOUS = /PISW1-|SWM(?:TKN|KEY)-|PRIVATE KEY|:\/\/[^\s/]*@|(?:pass(?:word|phrase)|secret|token|key)":"/i;

/** The text without cluster secrets, join tokens, unlock keys, private keys, and passwords in URLs. */
export function redact(text: string): string {
  if (!SUSPICIOUS.test(text)) return text;
  return PATTERNS.reduce((result, [pattern, instead]) => result.replace(pattern, instead), text);
}
