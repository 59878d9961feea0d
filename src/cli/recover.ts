// bellhop recover: a dark bucket goes on without what was lost, on an operator's word (R9).

import { Command } from "commander";

import { call } from "./call.ts";
import { readCluster } from "./cluster-words.ts";
import { CliError } from "./exit.ts";
import { whole, withAt, withExamples, type AtOption } from "./options.ts";
import { printResult } from "./output.ts";

interface RecoverOptions extends AtOption {
  readonly acceptLoss?: true;
  readonly node?: string;
}

export function recoverCommand(): Command {
  const command = withAt(new Command("recover"))
    .description("let a bucket whose last whole copy is lost go on with what one node still has")
    .argument("<bucket>", "its number", whole(0, 65_535))
    .option("--accept-loss", "yes: what that copy lacks is lost for good")
    .option("--node <id>", "whose copy is kept (default: the bucket's last member)");
  return withExamples(command, ["bellhop status", "bellhop recover 13 --accept-loss"]).action(recover);
}

async function recover(bucket: number, { at, output, acceptLoss, node }: RecoverOptions): Promise<void> {
  if (acceptLoss !== true) throw await whatIsLost(at, bucket);
  const body = JSON.stringify({ acceptLoss: true, ...(node === undefined ? {} : { node }) });
  const { body: recovered } = await call(at, { method: "POST", path: `/v1/buckets/${bucket}/recover`, body, once: true });
  const { node: kept, generation } = recovered as { readonly node: string; readonly generation: number };
  printResult(output, recovered, () => `bucket ${bucket} goes on with the copy of ${kept}, generation ${generation}: its devices are told BROKEN and synchronise their state`);
}

/** Without the word nothing is done; the refusal says what the word would mean. */
async function whatIsLost(at: string, bucket: number): Promise<CliError> {
  const { dark, buckets } = await readCluster(at);
  const found = dark.buckets.find((one) => one.bucket === bucket);
  if (found === undefined && bucket >= buckets) return new CliError("notFound", "not_found", `There is no bucket ${bucket}.`, `they are numbered from 0 to ${buckets - 1}`, "bellhop status");
  if (found === undefined) return new CliError("refused", "unsafe", `Bucket ${bucket} has a leader: there is nothing to recover.`, "", "bellhop status");
  if (found.state !== "dark") return new CliError("refused", "unsafe", `Bucket ${bucket} has no leader now, and nothing of it is lost.`, found.why);
  const lost = "every message, state document, session and key that only the lost store had; for an empty disk that is all of the bucket";
  return new CliError("refused", "loss_not_accepted", `Bucket ${bucket} is dark.`, `${found.why}\nlost would be ${lost}`, `bellhop recover ${bucket} --accept-loss`);
}
