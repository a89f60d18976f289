import type { Counts, NodeState, Outcome, PartitionState } from "../api/types";

export type Palette = "red" | "orange" | "yellow" | "pink" | "blue" | "green" | "purple" | "gray";

/** What is said of runs, the most urgent first. */
export const LABELS: Record<keyof Counts, { text: string; means: string; palette: Palette }> = {
  repair_failed: { text: "repair failed", means: "ran again on good data and failed", palette: "red" },
  stopped: { text: "stopped", means: "was killed while it read bad data", palette: "pink" },
  held: { text: "held", means: "may not start", palette: "orange" },
  asks: { text: "asks first", means: "is repaired once a person approves", palette: "purple" },
  tainted: { text: "tainted", means: "finished, and saw bad data", palette: "yellow" },
  owes: { text: "owes a re-run", means: "will run again when all that it reads is good", palette: "yellow" },
  repairing: { text: "repairing", means: "runs again", palette: "blue" },
  starting: { text: "starting", means: "may start now", palette: "blue" },
  superseded: { text: "superseded", means: "another run does its work", palette: "gray" },
};

export function labelled(label: string): { text: string; means: string; palette: Palette } {
  return LABELS[label.replace(" ", "_") as keyof Counts] ?? { text: label, means: label, palette: "gray" };
}

export const STATES: Record<NodeState | PartitionState, { text: string; palette: Palette }> = {
  halted: { text: "halted", palette: "red" },
  bad: { text: "bad", palette: "red" },
  stopped: { text: "stopped", palette: "pink" },
  held: { text: "held", palette: "orange" },
  warned: { text: "warned", palette: "orange" },
  tainted: { text: "tainted", palette: "yellow" },
  repairing: { text: "repairing", palette: "blue" },
  withdrawn: { text: "withdrawn", palette: "gray" },
  clean: { text: "clean", palette: "green" },
};

export const OUTCOMES: Record<Outcome, { text: string; means: string }> = {
  fixed: { text: "Fixed", means: "It was bad, and the data that is there now is good. What read the bad data runs again." },
  false_alarm: { text: "False alarm", means: "It was good all along. What was held starts; what was stopped runs again." },
  withdrawn: { text: "Withdrawn", means: "It should not exist. What was made from it alone is withdrawn, too." },
};

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

const UNITS: [number, string][] = [
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
];

function since(moment: string, now: number): string | undefined {
  const seconds = Math.max(0, (now - Date.parse(moment)) / 1000);
  for (const [length, unit] of UNITS) {
    if (seconds >= length) return count(Math.floor(seconds / length), unit);
  }
  return undefined;
}

/** How long ago a moment was: `3 minutes ago`. */
export function ago(moment: string, now = Date.now()): string {
  const time = since(moment, now);
  return time === undefined ? "just now" : `${time} ago`;
}

/** How long it has been since a moment: `3 minutes`. */
export const lasting = (moment: string, now = Date.now()): string => since(moment, now) ?? "less than a minute";

/** How long something takes: `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 1) return "under a second";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A key for people: an asset without keys is meant as a whole. */
export const keyText = (key: string | null): string => key ?? "(no key)";
