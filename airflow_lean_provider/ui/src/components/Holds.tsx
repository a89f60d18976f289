import { NativeSelect, Stack, Text } from "@chakra-ui/react";
import { type ReactNode, useRef, useState } from "react";

import { pathWith } from "../api/client";
import type { Hold, Holds as Found } from "../api/types";
import { type Loaded, useLoad } from "../api/useLoad";
import { keyText, labelled, LABELS } from "../lib/words";
import { Ago, LabelTags, Pager, Problem, Rows, ToCord, ToDag, ToRun, Waiting, WIDE_KEY } from "./basics";
import { CordsInBrief } from "./CordsInBrief";

const SIZE = 25;

/** The runs that open cords concern: what is said of each, since when and because of what. */
export function Holds({
  besides,
  every,
  none,
  query,
  showDag,
}: {
  readonly besides?: ReactNode;
  readonly every: (found: Found | undefined) => number;
  readonly none: string;
  readonly query: Record<string, string | number>;
  readonly showDag?: boolean;
}) {
  const [page, setPage] = useState(0);
  const [label, setLabel] = useState("");
  const found = useLoad<Found>(pathWith("/holds", { ...query, label, limit: SIZE, offset: page * SIZE, order_by: "partition_key" }), every);
  const choice = useRef(false);
  choice.current ||= (found.data?.total_entries ?? 0) > 1;
  return (
    <>
      {(found.data?.total_entries ?? 0) > 0 ? besides : null}
      {query.cord_id === undefined && found.data ? <CordsInBrief cords={found.data.holds.flatMap((hold) => hold.cords)} /> : null}
      <NativeSelect.Root hidden={!choice.current} mb={2} size="sm" width="12rem">
        <NativeSelect.Field
          aria-label="Runs in which state"
          onChange={(event) => {
            setLabel(event.target.value);
            setPage(0);
          }}
          value={label}
        >
          <option value="">Runs in any state</option>
          {Object.entries(LABELS).map(([name, { text }]) => (
            <option key={name} value={name.replace("_", " ")}>
              {text}
            </option>
          ))}
        </NativeSelect.Field>
        <NativeSelect.Indicator />
      </NativeSelect.Root>
      <Shown found={found} none={label === "" ? none : `None is ${labelled(label).text}.`} cordId={query.cord_id} onPage={setPage} page={page} showDag={showDag} />
    </>
  );
}

function Shown({
  cordId,
  found: { data, error },
  none,
  onPage,
  page,
  showDag,
}: {
  readonly cordId: unknown;
  readonly found: Loaded<Found>;
  readonly none: string;
  readonly onPage: (page: number) => void;
  readonly page: number;
  readonly showDag?: boolean;
}) {
  if (error && data === undefined) return <Problem>{error.message}</Problem>;
  if (data === undefined) return <Waiting what="runs" />;
  return (
    <>
      {data.total_entries === 0 ? (
        <Text color="fg.muted">{data.hidden > 0 ? "" : none}</Text>
      ) : (
        <Rows columns={[...(showDag ? ["Dag"] : []), "State", "Run", "Because of", "Since"]} label="Runs">
          {data.holds.map((hold) => (
            <tr key={`${hold.dag_id} ${hold.run_id}`}>
              {showDag ? (
                <td>
                  <ToDag dagId={hold.dag_id} />
                </td>
              ) : null}
              <td>
                <LabelTags labels={hold.labels} />
                <Parts hold={hold} />
              </td>
              <td>
                {hold.partition_key === null ? null : <Text {...WIDE_KEY}>{hold.partition_key}</Text>}
                <Text fontSize="xs">
                  <ToRun dagId={hold.dag_id} runId={hold.run_id} />
                </Text>
              </td>
              <td>
                <Because cordId={cordId} hold={hold} />
              </td>
              <td>
                <Ago moment={hold.since} />
              </td>
            </tr>
          ))}
        </Rows>
      )}
      {data.hidden > 0 ? (
        <Text color="fg.muted" fontSize="sm" mt={1}>
          and {data.hidden} of Dags that you may not see
        </Text>
      ) : null}
      <Pager onPage={onPage} page={page} size={SIZE} total={data.total_entries} />
    </>
  );
}

function Parts({ hold }: { readonly hold: Hold }) {
  const lines = [
    hold.parked.length > 0 && !hold.whole ? `waiting: ${hold.parked.join(", ")}` : "",
    hold.stopped.length > 0 ? `stopped: ${hold.stopped.join(", ")}` : "",
  ].filter(Boolean);
  return lines.length === 0 ? null : (
    <Text color="fg.muted" fontSize="xs" mt={1}>
      {lines.join("; ")}
    </Text>
  );
}

function Because({ cordId, hold }: { readonly cordId: unknown; readonly hold: Hold }) {
  return (
    <Stack gap={0.5}>
      {hold.because.slice(0, 3).map((bad) => (
        <Text fontSize="sm" key={`${bad.asset_id} ${bad.partition_key}`} overflowWrap="anywhere">
          {bad.asset} <Text as="span" {...WIDE_KEY}>{keyText(bad.partition_key)}</Text>
          {bad.cord_id === null ? " (half-written by a stopped task)" : null}
        </Text>
      ))}
      {hold.cords.filter((cord) => cord.cord_id !== cordId).map((cord) => (
        <Text fontSize="sm" key={cord.cord_id}>
          <ToCord id={cord.cord_id} />
        </Text>
      ))}
    </Stack>
  );
}
