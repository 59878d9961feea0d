// Counts how often each branch of the protocol was taken: V8's precise block coverage over the bundle, read at every branch of its syntax.

import { readFileSync } from "node:fs";
import { Session, type Profiler } from "node:inspector/promises";
import { SourceMap, type SourceMapPayload } from "node:module";
import ts from "typescript";

export interface BranchCount {
  readonly file: string;
  readonly line: number;
  /** The branch's first line, to know it by. */
  readonly text: string;
  readonly count: number;
}

/** The parts of the source whose branches count. */
const PROTOCOL = /src\/core\/(?:replica|table|gateway|stream|[a-z-]+\.ts)/;

export class Coverage {
  readonly #session: Session;
  readonly #bundle: string;

  private constructor(session: Session, bundle: string) {
    this.#session = session;
    this.#bundle = bundle;
  }

  /** @param bundle path of the script that runs; its source map lies beside it. */
  static async start(bundle: string): Promise<Coverage> {
    const session = new Session();
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    return new Coverage(session, bundle);
  }

  async stop(): Promise<BranchCount[]> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    this.#session.disconnect();
    const script = result.find((one) => one.url.endsWith(this.#bundle));
    if (script === undefined) throw new Error(`${this.#bundle} is not among the scripts that ran`);
    return this.#countBranches(script.functions);
  }

  #countBranches(functions: readonly Profiler.FunctionCoverage[]): BranchCount[] {
    const text = readFileSync(this.#bundle, "utf8");
    const map = new SourceMap(JSON.parse(readFileSync(`${this.#bundle}.map`, "utf8")) as SourceMapPayload);
    const tree = ts.createSourceFile(this.#bundle, text, ts.ScriptTarget.ES2023, true);
    const ranges = functions.flatMap((one) => one.ranges);
    const counts: BranchCount[] = [];
    for (const node of branchesOf(tree)) {
      const start = node.getStart(tree);
      const at = tree.getLineAndCharacterOfPosition(start);
      const origin = map.findEntry(at.line, at.character) as { originalSource?: string; originalLine?: number };
      const file = /src\/core\/.*$/.exec(origin.originalSource ?? "")?.[0];
      if (file === undefined || !PROTOCOL.test(file)) continue;
      const first = text.slice(start, node.end).split("\n")[0]!.slice(0, 100);
      counts.push({ file, line: (origin.originalLine ?? 0) + 1, text: first, count: countAt(ranges, start) });
    }
    return counts;
  }
}

/** How often the code at `offset` ran: V8 gives the count at the innermost range around it. */
function countAt(ranges: readonly Profiler.CoverageRange[], offset: number): number {
  let innermost: Profiler.CoverageRange | undefined;
  for (const range of ranges) {
    if (offset < range.startOffset || offset >= range.endOffset) continue;
    if (innermost === undefined || range.endOffset - range.startOffset <= innermost.endOffset - innermost.startOffset) innermost = range;
  }
  return innermost?.count ?? 0;
}

/** Bodies of functions and loops, both ways of conditions, clauses of switches, the right sides of && || ??. */
function branchesOf(tree: ts.SourceFile): ts.Node[] {
  const branches: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isIfStatement(node)) {
      branches.push(node.thenStatement);
      if (node.elseStatement !== undefined && !ts.isIfStatement(node.elseStatement)) branches.push(node.elseStatement);
    } else if (ts.isConditionalExpression(node)) branches.push(node.whenTrue, node.whenFalse);
    else if (ts.isIterationStatement(node, false)) branches.push(node.statement);
    else if (ts.isCaseOrDefaultClause(node)) branches.push(...node.statements.slice(0, 1));
    else if (ts.isBinaryExpression(node) && isLazy(node.operatorToken.kind)) branches.push(node.right);
    else if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) branches.push(node.body);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return branches;
}

function isLazy(kind: ts.SyntaxKind): boolean {
  return kind === ts.SyntaxKind.AmpersandAmpersandToken || kind === ts.SyntaxKind.BarBarToken || kind === ts.SyntaxKind.QuestionQuestionToken;
}
