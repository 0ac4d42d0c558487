/** What has to be ended, in the opposite order of its beginning, all of it within one limit. */

export class Closers {
  readonly #all: { what: string; close: () => unknown }[] = [];

  add(what: string, close: () => unknown): void {
    this.#all.unshift({ what, close });
  }

  /** Each is begun although another one fails; what has not ended within the limit is left to the end of the process. */
  async close(limitMs: number, trouble: (what: string, error: unknown) => void): Promise<void> {
    const all = this.#all.splice(0).map(async ({ what, close }) => {
      try {
        await close();
      } catch (error) {
        trouble(`could not close: ${what}`, error);
      }
    });
    await Promise.race([Promise.all(all), new Promise(resolve => setTimeout(resolve, limitMs).unref())]);
  }
}
