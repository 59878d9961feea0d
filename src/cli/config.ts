// bellhop config: check the settings and show them, without starting anything.

import { Command } from "commander";

import { describeEffective, type Settings } from "../config.ts";
import { CertificateError, readCertificates, readPeerCertificates } from "../doors/certificates.ts";
import { withExamples, withOutput, type OutputOption } from "./options.ts";
import { printResult, table } from "./output.ts";
import { checkedFiles, settingsOf, wrongSettings } from "./start.ts";

interface ConfigOptions extends OutputOption {
  readonly config?: string;
}

interface ShowOptions extends ConfigOptions {
  readonly effective?: true;
}

export function configCommand(): Command {
  const command = new Command("config").description("check or show the settings (flags > environment > bellhop.json)");
  const check = withOutput(command.command("check")).description("exit 0 when the settings are right, else say everything that is wrong").option("--config <file>", "settings as JSON");
  withExamples(check, ["bellhop config check", "bellhop config check --config /etc/bellhop.json"]).action((options: ConfigOptions) => {
    checkFiles(settingsOf(options.config === undefined ? {} : { config: options.config }).settings);
    const given = set(options);
    printResult(options.output, { ok: true, set: given.length }, () => `The settings are right; ${given.length} differ from their defaults.`);
  });
  const show = withOutput(command.command("show"))
    .description("show what is set, and where")
    .option("--effective", "every setting with its value, defaults included")
    .option("--config <file>", "settings as JSON");
  withExamples(show, ["bellhop config show", "bellhop config show --effective -o json"]).action((options: ShowOptions) => {
    const lines = options.effective === true ? effective(options) : set(options);
    printResult(options.output, lines, () =>
      lines.length === 0
        ? "Every setting has its default; --effective shows them all."
        : table([["SETTING", "VALUE", "UNIT", "FROM"], ...lines.map((line) => [line.name, String(line.value), line.unit, line.source])]),
    );
  });
  return command;
}

/** @throws CliError for files that cannot be read, do not fit each other, or are out of their time */
function checkFiles(settings: Settings): void {
  try {
    const { outOfTime } = readCertificates(checkedFiles(settings));
    if (outOfTime.length > 0) throw wrongSettings(outOfTime);
    readPeerCertificates(settings);
  } catch (error) {
    throw error instanceof CertificateError ? wrongSettings([error.message]) : error;
  }
}

function effective(options: ConfigOptions): ReturnType<typeof describeEffective> {
  return describeEffective(settingsOf(options.config === undefined ? {} : { config: options.config }));
}

function set(options: ConfigOptions): ReturnType<typeof describeEffective> {
  return effective(options).filter((line) => line.source !== "default");
}
