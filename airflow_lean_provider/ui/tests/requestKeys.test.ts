import { expect, it } from "vitest";

import { requestKeys } from "../src/lib/requestKeys";

it("repeats a request under its key, and gives another request another key", () => {
  const keyFor = requestKeys();
  const first = keyFor({ partition_keys: ["2026-06-14"], reason: "x" });
  const other = keyFor({ partition_keys: ["2026-06-15"], reason: "x" });
  expect(first).toMatch(/^page-[0-9a-f]{32}$/);
  expect(other).not.toBe(first);
  expect(keyFor({ partition_keys: ["2026-06-14"], reason: "x" })).toBe(first);
  expect(requestKeys()({ partition_keys: ["2026-06-14"], reason: "x" })).not.toBe(first);
});
