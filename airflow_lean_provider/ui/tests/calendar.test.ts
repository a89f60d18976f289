import { expect, it } from "vitest";

import { dayOf, monthBeside, weeksOf } from "../src/lib/calendar";

it("finds the day at the beginning of a key, and in nothing else", () => {
  expect(dayOf("2026-06-14T05")).toBe("2026-06-14");
  expect(dayOf("2026-06-08 (W24)")).toBe("2026-06-08");
  for (const key of ["us", "2026-06", "2026-13-01", "2026-06-141", "x2026-06-14"]) expect(dayOf(key)).toBeNull();
});

it("steps over the year's end", () => {
  expect(monthBeside("2026-12", 1)).toBe("2027-01");
  expect(monthBeside("2026-01", -1)).toBe("2025-12");
});

it("begins weeks with Monday and knows leap years", () => {
  const june = weeksOf("2026-06");
  expect(june[0][0]).toBe("2026-06-01");
  expect(june.at(-1)).toEqual(["2026-06-29", "2026-06-30", null, null, null, null, null]);
  expect(weeksOf("2024-02").flat().filter(Boolean)).toHaveLength(29);
  expect(weeksOf("2026-03")[0].filter(Boolean)).toEqual(["2026-03-01"]);
});
