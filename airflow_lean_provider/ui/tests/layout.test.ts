import { expect, it } from "vitest";

import type { Graph, GraphNode } from "../src/api/types";
import { curve, fold, layOut, NODE, SINGLY } from "../src/lib/layout";

const NO_RUNS = { held: 0, stopped: 0, tainted: 0, owes: 0, repairing: 0, starting: 0, superseded: 0, repair_failed: 0, asks: 0 };

function node(id: string, hops: number, more: Partial<GraphNode> = {}): GraphNode {
  const kind = id.startsWith("asset") ? "asset" : "dag";
  return { id, kind, label: id, asset_id: null, dag_id: null, hops, root: hops === 0, state: "held", partitions: 1, bad_partitions: 0, runs: NO_RUNS, ...more };
}

function fan(dags: number): Graph {
  const nodes = [node("asset:0", 0), ...Array.from({ length: dags }, (_, n) => node(`dag:${n}`, 1))];
  return { nodes, edges: nodes.slice(1).map(({ id }) => ({ source: "asset:0", target: id })), cut: false };
}

it("shows a few nodes singly and folds many that are alike", () => {
  expect(fold(fan(SINGLY)).nodes).toHaveLength(1 + SINGLY);
  const { edges, nodes } = fold(fan(500));
  expect(nodes.map(({ members }) => members.length)).toEqual([1, 500]);
  expect(edges).toEqual([["asset:0", nodes[1].id]]);
});

it("does not fold what is in another state, so that the one that was stopped is seen", () => {
  const graph = fan(20);
  graph.nodes[7].state = "stopped";
  expect(fold(graph).nodes.map(({ members, state }) => [state, members.length])).toContainEqual(["stopped", 1]);
});

it("unfolds what is asked for", () => {
  const [, folded] = fold(fan(20)).nodes;
  expect(fold(fan(20), new Set([folded.id])).nodes).toHaveLength(21);
});

it("draws no edge within what is folded, as in a cycle of Dags", () => {
  const graph = fan(20);
  graph.edges.push({ source: "dag:1", target: "dag:2" });
  expect(fold(graph).edges).toHaveLength(1);
});

it("places hops from left to right, none upon another", () => {
  const graph = fan(5);
  graph.nodes.push(node("asset:9", 1));
  graph.edges.push({ source: "dag:0", target: "asset:9" }, { source: "asset:9", target: "dag:0" });
  const { height, nodes, width } = layOut(graph);
  const at = new Map(nodes.map((n) => [n.id, n]));
  expect(at.get("dag:0")!.x).toBeGreaterThan(at.get("asset:0")!.x);
  for (const a of nodes) {
    expect(a.x).toBeLessThan(width);
    expect(a.y).toBeLessThan(height);
    for (const b of nodes) {
      if (a !== b) expect(Math.abs(a.x - b.x) >= NODE.width || Math.abs(a.y - b.y) >= NODE.height).toBe(true);
    }
  }
});

it("draws lines from side to side, and leaves one that leads back as it was laid", () => {
  const half = NODE.width / 2;
  const [left, right] = [{ x: 100, y: 50 }, { x: 500, y: 90 }];
  expect(curve(left, right, [left, right])).toBe(`M${100 + half} 50C300 50 300 90 ${500 - half} 90`);
  expect(curve(right, left, [{ x: 412, y: 80 }, { x: 300, y: 70 }, { x: 188, y: 60 }])).toBe("M412 80L300 70L188 60");
});

it("lays out 500 unfolded nodes in a moment", () => {
  const [, folded] = fold(fan(500)).nodes;
  const begin = performance.now();
  layOut(fan(500), new Set([folded.id]));
  expect(performance.now() - begin).toBeLessThan(5_000);
});
