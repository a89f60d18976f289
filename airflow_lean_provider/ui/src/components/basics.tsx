import { Alert, Badge, Box, Button, Heading, HStack, Link, Skeleton, Text, VisuallyHidden } from "@chakra-ui/react";
import { type ReactNode, useEffect, useState } from "react";
import { Link as RouterLink } from "react-router-dom";

import type { Counts } from "../api/types";
import { ago, LABELS, labelled, lasting, type Palette, STATES } from "../lib/words";

export const HOME = "/plugin/andon";
export const cordPath = (id: number): string => `${HOME}/cords/${id}`;

/** One segment of a path, written as Airflow writes it: its pages compare paths to find the tab in use. */
export const segment = (text: string): string => text.replaceAll(/[%/?#\\]/g, encodeURIComponent);

const runPath = (dagId: string, runId: string): string => `/dags/${segment(dagId)}/runs/${segment(runId)}`;

export function To({ children, path }: { readonly children: ReactNode; readonly path: string }) {
  return (
    <Link asChild color="fg.info" overflowWrap="anywhere">
      <RouterLink to={path}>{children}</RouterLink>
    </Link>
  );
}

export const ToCord = ({ id }: { readonly id: number }) => <To path={cordPath(id)}>Cord {id}</To>;

export const ToAsset = ({ id, name }: { readonly id: number; readonly name: string }) => (
  <To path={`/assets/${id}`}>{name}</To>
);

/** A link to a run, or to a task instance of it. */
export function ToRun({
  dagId,
  mapIndex,
  runId,
  taskId,
}: {
  readonly dagId: string;
  readonly mapIndex?: number | null;
  readonly runId: string;
  readonly taskId?: string | null;
}) {
  if (taskId === undefined || taskId === null) return <To path={`${runPath(dagId, runId)}/plugin/andon_dag_run`}>{runId}</To>;
  const mapped = mapIndex === undefined || mapIndex === null || mapIndex < 0 ? "" : `/mapped/${mapIndex}`;
  return (
    <To path={`${runPath(dagId, runId)}/tasks/${segment(taskId)}${mapped}`}>
      {dagId} › {taskId}
      {mapped === "" ? "" : ` [${mapIndex}]`}
    </To>
  );
}

export const ToDag = ({ dagId }: { readonly dagId: string }) => (
  <To path={`/dags/${segment(dagId)}`}>{dagId}</To>
);

/** A moment as people say it; the exact one is shown on demand. */
export const Ago = ({ moment }: { readonly moment: string }) => <Told as={ago} moment={moment} />;

/** How long something has gone on. */
export const For = ({ moment }: { readonly moment: string }) => <Told as={lasting} moment={moment} />;

function Told({ as, moment }: { readonly as: (moment: string) => string; readonly moment: string }) {
  const [, setTick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTick((n) => n + 1), 30_000);
    return () => clearInterval(timer);
  }, []);
  return (
    <time dateTime={moment} title={new Date(moment).toLocaleString()}>
      {as(moment)}
    </time>
  );
}

export function Tag({ children, palette, title }: { readonly children: ReactNode; readonly palette: Palette; readonly title?: string }) {
  return (
    <Badge colorPalette={palette} size="md" title={title} variant="subtle">
      {children}
    </Badge>
  );
}

export const StateTag = ({ state }: { readonly state: keyof typeof STATES }) => (
  <Tag palette={STATES[state].palette}>{STATES[state].text}</Tag>
);

export function LabelTags({ labels }: { readonly labels: readonly string[] }) {
  return (
    <HStack gap={1} wrap="wrap">
      {labels.map((label) => {
        const { means, palette, text } = labelled(label);
        return (
          <Tag key={label} palette={palette} title={means}>
            {text}
          </Tag>
        );
      })}
    </HStack>
  );
}

/** How many runs are held, stopped and so on; nothing of what there is none. */
export function CountTags({ counts, none }: { readonly counts: Counts; readonly none?: string }) {
  const shown = (Object.keys(LABELS) as (keyof Counts)[]).filter((label) => counts[label] > 0);
  if (shown.length === 0) return none === undefined ? null : <Text color="fg.muted">{none}</Text>;
  return (
    <HStack align="baseline" gap={2}>
      <Text aria-hidden="true" color="fg.muted" fontSize="sm">
        Runs:
      </Text>
      <HStack aria-label="Runs" as="ul" gap={1.5} listStyleType="none" wrap="wrap">
        {shown.map((label) => (
          <li key={label}>
            <Tag palette={LABELS[label].palette} title={`Runs: ${LABELS[label].means}`}>
              {counts[label].toLocaleString("en")} {LABELS[label].text}
            </Tag>
          </li>
        ))}
      </HStack>
    </HStack>
  );
}

export function Problem({ children, title }: { readonly children: ReactNode; readonly title?: string }) {
  return (
    <Alert.Root role="alert" size="sm" status="error">
      <Alert.Indicator />
      <Alert.Content>
        {title === undefined ? null : <Alert.Title>{title}</Alert.Title>}
        <Alert.Description overflowWrap="anywhere">{children}</Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}

export function Waiting({ what, height = "6rem" }: { readonly what: string; readonly height?: string }) {
  return (
    <Box aria-busy="true" role="status">
      <VisuallyHidden>Loading {what}</VisuallyHidden>
      <Skeleton height={height} />
    </Box>
  );
}

export function Section({ action, children, title }: { readonly action?: ReactNode; readonly children: ReactNode; readonly title: string }) {
  return (
    <Box as="section" mt={6}>
      <HStack justify="space-between" mb={2} minH={8} wrap="wrap">
        <Heading as="h2" size="md">
          {title}
        </Heading>
        {action}
      </HStack>
      {children}
    </Box>
  );
}

export function Calm({ children, title }: { readonly children?: ReactNode; readonly title: string }) {
  return (
    <Box borderRadius="lg" borderWidth={1} px={6} py={10} textAlign="center">
      <Box aria-hidden="true" bg="green.solid" borderRadius="full" boxSize={3} display="inline-block" mb={3} />
      <Text fontSize="lg" fontWeight="semibold">
        {title}
      </Text>
      {children === undefined ? null : <Box color="fg.muted" mt={1}>{children}</Box>}
    </Box>
  );
}

const CELL = "0.75rem";

/** Where a table is narrow, each row is a block, and each cell has the name of its column before it. */
const stacked = (columns: readonly string[]) => ({
  "& thead": { clipPath: "inset(50%)", height: "1px", overflow: "hidden", position: "absolute", width: "1px" },
  "&, & tbody, & tr, & td": { display: "block" },
  "& tbody tr": { paddingBlock: "0.25rem" },
  "& tbody tr:first-of-type": { borderTopWidth: 0 },
  "& td": { minHeight: "2rem", overflowWrap: "anywhere", paddingBlock: "0.25rem", paddingInlineStart: "6.5rem", position: "relative" },
  "& td::before": { color: "var(--chakra-colors-fg-muted)", insetInlineStart: CELL, position: "absolute" },
  ...Object.fromEntries(columns.map((name, index) => [`& td:nth-of-type(${index + 1})::before`, { content: JSON.stringify(name) }])),
});

export function Rows({ children, columns, label }: { readonly children: ReactNode; readonly columns: readonly string[]; readonly label: string }) {
  return (
    <Box aria-label={label} borderRadius="md" borderWidth={1} containerType="inline-size" overflowX="auto" role="region" tabIndex={0}>
      <Box
        as="table"
        css={{
          "& th, & td": { padding: `0.5rem ${CELL}`, textAlign: "start", verticalAlign: "top" },
          "& th": { fontWeight: "semibold", whiteSpace: "nowrap" },
          "& tbody tr": { borderTopWidth: "1px" },
          "@container (width < 32rem)": stacked(columns),
        }}
        fontSize="sm"
        width="100%"
      >
        <Box as="thead" bg="bg.muted">
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </Box>
        <tbody>{children}</tbody>
      </Box>
    </Box>
  );
}

/** Which part of a long list is shown, and the way to the others. */
export function Pager({ onPage, page, size, total }: { readonly onPage: (page: number) => void; readonly page: number; readonly size: number; readonly total: number }) {
  if (total <= size && page === 0) return null;
  const last = Math.max(0, Math.ceil(total / size) - 1);
  const first = Math.min(page * size + 1, total);
  return (
    <HStack aria-label="Pages" as="nav" gap={2} mt={2}>
      <Button disabled={page === 0} onClick={() => onPage(Math.min(page, last + 1) - 1)} size="xs" variant="outline">
        ‹ Before
      </Button>
      <Text aria-live="polite" fontSize="sm">
        {first.toLocaleString("en")} to {Math.min((page + 1) * size, total).toLocaleString("en")} of {total.toLocaleString("en")}
      </Text>
      <Button disabled={page >= last} onClick={() => onPage(page + 1)} size="xs" variant="outline">
        Next ›
      </Button>
    </HStack>
  );
}

export const WIDE_KEY = { fontFamily: "mono", fontSize: "sm", overflowWrap: "anywhere" } as const;
