/**
 * Names and reasons come from other Pis, and go to terminals: there, control characters clear the screen, move the cursor
 * or set the window's title, and direction marks turn words around.
 */

// biome would rather have no control characters in patterns; escapes for them say the same.
const UNPRINTABLE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
const UNPRINTABLE_BUT_LINES = /[^\P{Cc}\n]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
const INSTEAD = '\ufffd';

/** One line without anything that a terminal would obey. */
export const printable = (text: string): string => text.replace(UNPRINTABLE, INSTEAD);

/** The same for texts of several lines. */
export const printableLines = (text: string): string => text.replace(UNPRINTABLE_BUT_LINES, INSTEAD);
