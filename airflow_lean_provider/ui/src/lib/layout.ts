import dagre from "@dagrejs/dagre";

import type { Graph, GraphNode, NodeState } from "../api/types";

export const NODE = { width: 176, height: 54 };

/** Of one hop, kind and state, this many are shown singly; more are folded into one. */
export const SINGLY = 8;

export type Folded = {
  id: string;
  kind: "asset" | "dag";
  hops: number;
  state: NodeState;
  root: boolean;
  /** One, or all those that are folded into this one. */
  members: GraphNode[];
};

export type Placed = Folded & { x: number; y: number };

export type Layout = {
  nodes: Placed[];
  edges: { id: string; path: string }[];
  width: number;
  height: number;
};

/**
 * Fold what is alike, so that hundreds of nodes can be read.
 *
 * @param open ids of folded nodes that are to be shown singly
 */
export function fold(graph: Graph, open: ReadonlySet<string> = new Set()): { nodes: Folded[]; edges: [string, string][] } {
  const groups = new Map<string, GraphNode[]>();
  for (const node of graph.nodes) {
    const name = node.root ? `root:${node.id}` : `${node.hops}:${node.kind}:${node.state}`;
    groups.set(name, [...(groups.get(name) ?? []), node]);
  }
  const home = new Map<string, string>();
  const nodes: Folded[] = [];
  for (const [name, members] of groups) {
    const together = members.length > SINGLY && !open.has(name);
    for (const part of together ? [members] : members.map((member) => [member])) {
      const [{ id, kind, hops, state, root }] = part;
      const own = together ? name : id;
      for (const member of part) home.set(member.id, own);
      nodes.push({ id: own, kind, hops, state, root, members: part });
    }
  }
  const pairs = new Map<string, [string, string]>();
  for (const { source, target } of graph.edges) {
    const [from, to] = [home.get(source), home.get(target)];
    if (from !== undefined && to !== undefined && from !== to) pairs.set(JSON.stringify([from, to]), [from, to]);
  }
  return { nodes, edges: [...pairs.values()] };
}

type Point = { x: number; y: number };

/** A line from the right side of a node to the left side of another; one that leads back is left as it was laid. */
export function curve(from: Point, to: Point, laid: readonly Point[]): string {
  if (to.x <= from.x) return `M${laid.map(({ x, y }) => `${x} ${y}`).join("L")}`;
  const begin = { x: from.x + NODE.width / 2, y: from.y };
  const end = { x: to.x - NODE.width / 2, y: to.y };
  const between = laid.length > 3 ? laid.slice(1, -1) : [];
  let last = begin;
  let path = `M${begin.x} ${begin.y}`;
  for (const next of [...between, end]) {
    const middle = (last.x + next.x) / 2;
    path += `C${middle} ${last.y} ${middle} ${next.y} ${next.x} ${next.y}`;
    last = next;
  }
  return path;
}

/** Place the nodes from left to right, hop by hop. */
export function layOut(graph: Graph, open?: ReadonlySet<string>): Layout {
  const { nodes, edges } = fold(graph, open);
  const drawing = new dagre.graphlib.Graph();
  drawing.setGraph({ rankdir: "LR", nodesep: 14, ranksep: 36, marginx: 12, marginy: 12 });
  drawing.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) drawing.setNode(node.id, { ...NODE });
  for (const [from, to] of edges) drawing.setEdge(from, to);
  dagre.layout(drawing);
  const { width = 0, height = 0 } = drawing.graph();
  return {
    nodes: nodes.map((node) => ({ ...node, x: drawing.node(node.id).x, y: drawing.node(node.id).y })),
    edges: drawing.edges().map((edge) => ({
      id: `${edge.v}>${edge.w}`,
      path: curve(drawing.node(edge.v), drawing.node(edge.w), drawing.edge(edge).points),
    })),
    width: width || NODE.width,
    height: height || NODE.height,
  };
}
