import { describe, expect, it } from "vitest";

import { idOf, keysIn, narrowed, partitionOf, pickedIn, scopeOf, toggled } from "../src/lib/selection";

describe("keysIn", () => {
  it("takes one key a line, or several set apart by commas, each once", () => {
    expect(keysIn("a\nb, c\r\n\n  a  ")).toEqual(["a", "b", "c"]);
  });
  it("leaves what is in quotes as it is", () => {
    expect(keysIn('"eu, west", us\n"say ""hi"""')).toEqual(["eu, west", "us", 'say "hi"']);
  });
  it("keeps slashes, percent signs, pipes and blanks within a key", () => {
    expect(keysIn("eu|2026-06-14\n100%/x y")).toEqual(["eu|2026-06-14", "100%/x y"]);
  });
});

describe("scopeOf", () => {
  it("says nothing while too little is selected", () => {
    expect(scopeOf(1, { by: "keys", keys: new Set() })).toBeNull();
    expect(scopeOf(1, { by: "range", first: "a", last: "" })).toBeNull();
    expect(scopeOf(1, { by: "text", text: " \n" })).toBeNull();
    expect(scopeOf(1, { by: "pattern", pattern: "" })).toBeNull();
    expect(scopeOf(1, { by: "from", from: "" })).toBeNull();
  });
  it("says which of the ways is meant, and only that", () => {
    expect(scopeOf(1, { by: "keys", keys: new Set(["b", "a"]) })).toEqual({ asset_id: 1, partition_keys: ["a", "b"] });
    expect(scopeOf(1, { by: "range", first: "a", last: "b" })).toEqual({ asset_id: 1, range: { first: "a", last: "b" } });
    expect(scopeOf(1, { by: "from", from: "a" })).toEqual({ asset_id: 1, from_key: "a" });
    expect(scopeOf(1, { by: "all" })).toEqual({ asset_id: 1, all: true });
    expect(scopeOf(1, { by: "whole" })).toEqual({ asset_id: 1 });
  });
});

describe("toggled and narrowed", () => {
  it("adds a group, and takes it out only when all of it is in", () => {
    expect(toggled(new Set(["a"]), ["a", "b"])).toEqual(new Set(["a", "b"]));
    expect(toggled(new Set(["a", "b", "c"]), ["a", "b"])).toEqual(new Set(["c"]));
  });
  it("keeps of a whole day the hour that is clicked, and what other days have", () => {
    expect(narrowed(new Set(["x", "a", "b"]), ["a", "b"], "b")).toEqual(new Set(["x", "b"]));
    expect(narrowed(new Set(["b"]), ["a", "b"], "a")).toEqual(new Set(["a", "b"]));
  });
});

it("tells the same key of two assets apart, and the key \"null\" from none", () => {
  const all = [1, 2].flatMap((asset_id) => ["a", "null", null].map((partition_key) => ({ asset_id, partition_key })));
  expect(new Set(all.map(idOf)).size).toBe(6);
  expect(all.map(idOf).map(partitionOf)).toEqual(all);
});

it("lets what was proposed give way to what is picked", () => {
  const proposed = { by: "keys", keys: new Set(["2026-06-15"]), proposed: true } as const;
  expect(scopeOf(1, proposed)).toEqual({ asset_id: 1, partition_keys: ["2026-06-15"] });
  expect(toggled(pickedIn(proposed), ["2026-06-14"])).toEqual(new Set(["2026-06-14"]));
  expect(toggled(pickedIn(proposed), ["2026-06-15"])).toEqual(new Set(["2026-06-15"]));
  expect(pickedIn({ by: "keys", keys: new Set(["a"]) })).toEqual(new Set(["a"]));
});
