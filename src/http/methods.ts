// Which methods an address takes: told with 405 to who asks with another.

interface KnownRoute {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

export class KnownMethods {
  readonly #routes = new Map<string, KnownRoute>();

  /** @param route the route's pattern: `/v1/devices/:device` */
  add(route: string, methods: readonly string[]): void {
    if (route.includes("*")) return; // files of the page at /docs
    const known = this.#routes.get(route) ?? { pattern: new RegExp(`^${route.replaceAll(".", "\\.").replace(/:\w+/g, "[^/]+")}$`), methods: new Set() };
    for (const method of methods) known.methods.add(method);
    this.#routes.set(route, known);
  }

  /** @param url as it was asked for; nothing where there is no such address */
  of(url: string): readonly string[] {
    const path = url.split("?", 1)[0]!;
    return [...this.#routes.values()].filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => [...methods]);
  }
}
