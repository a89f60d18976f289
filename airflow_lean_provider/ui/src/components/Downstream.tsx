import { Box, Button, HStack, Text, VisuallyHidden } from "@chakra-ui/react";
import { useLayoutEffect, useMemo, useRef, useState } from "react";
import { Link as RouterLink } from "react-router-dom";

import type { Graph } from "../api/types";
import { layOut, NODE, type Placed } from "../lib/layout";
import { count, LABELS, STATES } from "../lib/words";
import { segment } from "./basics";

const SCALES = [0.5, 0.7, 0.8, 0.9, 1, 1.25];
const READABLE = 1;
const FULL = SCALES.indexOf(1);
const ORDER = Object.keys(STATES);

/** What lies downstream, hop by hop from left to right. */
export function Downstream({ graph, height = "26rem" }: { readonly graph: Graph; readonly height?: string }) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [chosen, setZoom] = useState<number>();
  const [width, setWidth] = useState(Infinity);
  const frame = useRef<HTMLDivElement>(null);
  const layout = useMemo(() => layOut(graph, open), [graph, open]);
  useLayoutEffect(() => setWidth(frame.current?.clientWidth ?? Infinity), []);
  const zoom = chosen ?? Math.max(READABLE, SCALES.findLastIndex((scale, index) => index <= FULL && layout.width * scale <= width));
  const scale = SCALES[zoom];
  const states = [...new Set(graph.nodes.map((node) => node.state))].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
  const unfold = (id: string) => setOpen((before) => new Set([...before, id]));

  if (graph.nodes.length === 0) return <Text color="fg.muted">Nothing lies downstream.</Text>;
  return (
    <Box borderRadius="md" borderWidth={1}>
      <HStack bg="bg.muted" borderBottomWidth={1} gap={3} justify="space-between" px={3} py={1.5} wrap="wrap">
        <HStack gap={3} wrap="wrap">
          {states.map((state) => (
            <HStack fontSize="xs" gap={1} key={state}>
              <Box aria-hidden="true" bg={`${STATES[state].palette}.solid`} borderRadius="sm" boxSize={2.5} />
              {STATES[state].text}
            </HStack>
          ))}
          <Text color="fg.muted" fontSize="xs">
            {count(graph.nodes.filter((n) => n.kind === "asset").length, "asset")},{" "}
            {count(graph.nodes.filter((n) => n.kind === "dag").length, "Dag")}
            {graph.cut ? "; there are more" : ""}
          </Text>
        </HStack>
        <HStack gap={1}>
          {open.size > 0 ? (
            <Button onClick={() => setOpen(new Set())} size="2xs" variant="outline">
              Fold
            </Button>
          ) : null}
          <Button aria-label="Zoom out" disabled={zoom === 0} onClick={() => setZoom(zoom - 1)} size="2xs" variant="outline">
            −
          </Button>
          <Button aria-label="Zoom in" disabled={zoom === SCALES.length - 1} onClick={() => setZoom(zoom + 1)} size="2xs" variant="outline">
            +
          </Button>
        </HStack>
      </HStack>
      <Box aria-label="Downstream graph" maxH={height} overflow="auto" ref={frame} role="region" tabIndex={0}>
        <Box height={`${layout.height * scale}px`} position="relative" width={`${layout.width * scale}px`}>
          <Box height={`${layout.height}px`} position="absolute" transform={`scale(${scale})`} transformOrigin="0 0" width={`${layout.width}px`}>
            <Box aria-hidden="true" asChild color="fg.subtle" position="absolute">
              <svg height={layout.height} width={layout.width}>
                <defs>
                  <marker id="andon-arrow" markerHeight="7" markerWidth="7" orient="auto" refX="6" refY="3.5">
                    <path d="M0 0L7 3.5L0 7z" fill="currentColor" />
                  </marker>
                </defs>
                {layout.edges.map((edge) => (
                  <path d={edge.path} fill="none" key={edge.id} markerEnd="url(#andon-arrow)" stroke="currentColor" strokeWidth="1.5" />
                ))}
              </svg>
            </Box>
            <Box as="ul" listStyleType="none">
              {layout.nodes.map((node) => (
                <Node key={node.id} node={node} unfold={unfold} />
              ))}
            </Box>
          </Box>
        </Box>
      </Box>
    </Box>
  );
}

function Node({ node, unfold }: { readonly node: Placed; readonly unfold: (id: string) => void }) {
  const palette = STATES[node.state].palette;
  const [first] = node.members;
  const many = node.members.length > 1;
  const name = many ? count(node.members.length, node.kind === "asset" ? "asset" : "Dag") : (first.label ?? "(hidden)");
  const path =
    first.asset_id === null ? (first.dag_id === null ? null : `/dags/${segment(first.dag_id)}`) : `/assets/${first.asset_id}`;
  const body = (
    <>
      <Text fontSize="sm" fontWeight={node.root ? "bold" : "medium"} title={name} truncate>
        <VisuallyHidden>{node.kind === "asset" ? "Asset" : "Dag"} </VisuallyHidden>
        {name}
      </Text>
      <Text color={node.state === "clean" ? "fg.muted" : `${palette}.fg`} fontSize="xs" truncate>
        {many ? `${STATES[node.state].text}: show each` : sayOf(node)}
      </Text>
    </>
  );
  const looks = {
    _focusVisible: { outline: "2px solid", outlineColor: "blue.solid" },
    _hover: { borderColor: `${palette}.solid` },
    bg: node.state === "clean" ? "bg" : `${palette}.subtle`,
    borderColor: node.root ? `${palette}.solid` : `${palette}.muted`,
    borderRadius: node.kind === "asset" ? "full" : "md",
    borderWidth: node.root ? 2 : 1,
    ...(node.kind === "dag" ? { boxShadow: "inset 4px 0 0 0 var(--shadow-color)", boxShadowColor: `${palette}.solid` } : {}),
    color: "fg",
    display: "block",
    height: "100%",
    px: node.kind === "asset" ? 5 : 3,
    py: 1.5,
    textAlign: "start",
    width: "100%",
  } as const;
  return (
    <Box as="li" height={`${NODE.height}px`} left={`${node.x - NODE.width / 2}px`} position="absolute" top={`${node.y - NODE.height / 2}px`} width={`${NODE.width}px`}>
      {many ? (
        <Box {...looks} asChild boxShadow="4px 4px 0 -1px var(--shadow-color)" boxShadowColor={`${palette}.muted`} cursor="pointer">
          <button onClick={() => unfold(node.id)} type="button">
            {body}
          </button>
        </Box>
      ) : path === null ? (
        <Box {...looks}>{body}</Box>
      ) : (
        <Box {...looks} asChild>
          <RouterLink to={path}>{body}</RouterLink>
        </Box>
      )}
    </Box>
  );
}

function sayOf({ kind, members: [node], state }: Placed): string {
  if (kind === "asset") {
    return node.bad_partitions > 0 && node.bad_partitions < node.partitions
      ? `${node.bad_partitions.toLocaleString("en")} of ${count(node.partitions, "partition")} bad`
      : `${count(node.partitions, "partition")}, ${STATES[state].text}`;
  }
  const parts = (Object.keys(LABELS) as (keyof typeof LABELS)[])
    .filter((label) => node.runs[label] > 0)
    .map((label) => `${node.runs[label].toLocaleString("en")} ${LABELS[label].text}`);
  return parts.length > 0 ? parts.join(", ") : "no run yet";
}
