/** Names of images, as docker run takes them (github.com/distribution/reference, reference.go). */

const DOMAIN = String.raw`(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?`;
const COMPONENT = String.raw`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`;
const TAG = String.raw`(?::\w[\w.-]{0,127})?`;
const DIGEST = `(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,128})?`;
const IMAGE = new RegExp(`^(?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*${TAG}${DIGEST}$`);

const CHARACTERS_MAX = 512;

/** `nginx`, `nginx:1.27`, `registry.example.org:5000/team/web@sha256:…`; it becomes a part of paths of the engine's API. */
export const isImageName = (text: string): boolean => text.length <= CHARACTERS_MAX && IMAGE.test(text);
