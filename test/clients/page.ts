// The programs of a page of docs/, and what the page says that they print.

/** The first program behind the name of its file. */
export function programOf(page: string, name: string): string {
  return blockBehind(page, `\`${name}.mjs\``, "```js\n");
}

/** The first block without a language behind the program. */
export function outputOf(page: string, name: string): string {
  return blockBehind(page, `${programOf(page, name)}\`\`\`\n`, "\n```\n");
}

/** What stands between the first such opening behind the place and the end of its block. */
export function blockBehind(page: string, place: string, opening: string): string {
  const from = page.indexOf(opening, page.indexOf(place) + place.length) + opening.length;
  return page.slice(from, page.indexOf("```", from));
}
