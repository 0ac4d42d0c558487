/** The name of a card that nobody named. Pure. */

/** What an image or an installer writes where nobody chose. */
const UNCHOSEN = ['', 'localhost', 'debian', 'raspberrypi'];
const HEX_SHOWN = 4;

/** @param text of /etc/hostname; undefined where there is none */
export const isUnnamed = (text: string | undefined): boolean => UNCHOSEN.includes((text ?? '').trim());

/** `pi-3fa2`, from the node id. */
export const defaultHostname = (id: string): string => `pi-${id.slice(0, HEX_SHOWN)}`;
