import { expect, it } from "vitest";

import { messageOf, pathWith } from "../src/api/client";
import { ago, duration } from "../src/lib/words";

it("leaves out what is not asked for, and escapes the rest", () => {
  expect(pathWith("/cords")).toBe("/cords");
  expect(pathWith("/cords", { text: "", limit: 5, closed: false, cord: undefined })).toBe("/cords?limit=5&closed=false");
  expect(pathWith("/why", { run_id: "a+b&c=d/é", state: ["bad", "halted"] })).toBe("/why?run_id=a%2Bb%26c%3Dd%2F%C3%A9&state=bad&state=halted");
});

it("says what the server says, whatever its shape", () => {
  expect(messageOf(403, { detail: "Forbidden" })).toBe("Forbidden");
  expect(messageOf(409, { detail: { field: "cord_id", message: "cord 1 is closed" } })).toBe("cord 1 is closed");
  expect(messageOf(422, { detail: [{ loc: ["body", "reason"], msg: "too short" }] })).toBe("reason: too short");
  expect(messageOf(502, null)).toContain("502");
});

it("speaks of time as people do", () => {
  const now = Date.parse("2026-06-14T12:00:00Z");
  expect(ago("2026-06-14T11:59:40Z", now)).toBe("just now");
  expect(ago("2026-06-14T11:59:00Z", now)).toBe("1 minute ago");
  expect(ago("2026-06-12T10:00:00Z", now)).toBe("2 days ago");
  expect(ago("2026-06-14T12:00:10Z", now)).toBe("just now");
  expect([0.1, 42, 90, 7_500].map(duration)).toEqual(["under a second", "42 s", "2 min", "2 h 5 min"]);
});
