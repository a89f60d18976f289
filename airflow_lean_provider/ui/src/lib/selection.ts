import type { PartitionRef, Scope } from "../api/types";

/** How a person says which partitions of an asset are meant. */
export type Selection =
  | { by: "keys"; keys: ReadonlySet<string>; proposed?: boolean }
  | { by: "range"; first: string; last: string }
  | { by: "text"; text: string }
  | { by: "from"; from: string }
  | { by: "pattern"; pattern: string }
  | { by: "all" }
  | { by: "whole" };

/** The keys to which a click adds: what was only proposed gives way to what a person picks. */
export function pickedIn(selection: Selection): ReadonlySet<string> {
  return selection.by === "keys" && !selection.proposed ? selection.keys : new Set();
}

/** The keys in free text: one a line, else set apart by commas; quotes keep a comma in a key. */
export function keysIn(text: string): string[] {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const parts = lines.flatMap((line) =>
    [...line.matchAll(/"((?:[^"]|"")*)"|([^,]+)/g)].map((m) => (m[1] ?? m[2] ?? "").replaceAll('""', '"').trim()),
  );
  return [...new Set(parts.filter((key) => key !== ""))];
}

/** What is sent, or null while too little was said. */
export function scopeOf(assetId: number, selection: Selection): Scope | null {
  const asset = { asset_id: assetId };
  switch (selection.by) {
    case "keys":
      return selection.keys.size > 0 ? { ...asset, partition_keys: [...selection.keys].sort() } : null;
    case "range":
      return selection.first && selection.last
        ? { ...asset, range: { first: selection.first, last: selection.last } }
        : null;
    case "text": {
      const keys = keysIn(selection.text);
      return keys.length > 0 ? { ...asset, partition_keys: keys } : null;
    }
    case "from":
      return selection.from ? { ...asset, from_key: selection.from } : null;
    case "pattern":
      return selection.pattern ? { ...asset, pattern: selection.pattern } : null;
    case "all":
      return { ...asset, all: true };
    case "whole":
      return asset;
  }
}

/** Add the keys, or take them out if all of them are in already. */
export function toggled(selected: ReadonlySet<string>, keys: readonly string[]): Set<string> {
  const result = new Set(selected);
  const all = keys.every((key) => result.has(key));
  for (const key of keys) {
    if (all) result.delete(key);
    else result.add(key);
  }
  return result;
}

/** Of keys that are all selected, keep the one that is clicked; else add it or take it out. */
export function narrowed(selected: ReadonlySet<string>, among: readonly string[], key: string): Set<string> {
  if (!among.every((one) => selected.has(one))) return toggled(selected, [key]);
  return new Set([...selected].filter((one) => one === key || !among.includes(one)));
}

/** A text that no other partition has: two assets may have the same key, and one may have none. */
export const idOf = ({ asset_id: asset, partition_key: key }: PartitionRef): string => JSON.stringify([asset, key]);

export function partitionOf(id: string): PartitionRef {
  const [asset, key] = JSON.parse(id) as [number, string | null];
  return { asset_id: asset, partition_key: key };
}
