import { Button, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import { pathWith } from "../api/client";
import type { Hold, Holds as Found } from "../api/types";
import { useLoad } from "../api/useLoad";
import { keyText } from "../lib/words";
import { Ago, LabelTags, Problem, Rows, ToCord, ToDag, ToRun, Waiting, WIDE_KEY } from "./basics";

/** The runs that open cords concern: what is said of each, since when and because of what. */
export function Holds({
  every,
  none,
  query,
  showDag,
}: {
  readonly every: (found: Found | undefined) => number;
  readonly none: string;
  readonly query: Record<string, string | number>;
  readonly showDag?: boolean;
}) {
  const [limit, setLimit] = useState(25);
  const { data, error } = useLoad<Found>(pathWith("/holds", { ...query, limit, order_by: "since" }), every);
  if (error && data === undefined) return <Problem>{error.message}</Problem>;
  if (data === undefined) return <Waiting what="runs" />;
  return (
    <>
      {data.total_entries === 0 ? (
        <Text color="fg.muted">{data.hidden > 0 ? "" : none}</Text>
      ) : (
        <Rows columns={[...(showDag ? ["Dag"] : []), "Run", "State", "Because of", "Since"]} label="Runs">
          {data.holds.map((hold) => (
            <tr key={`${hold.dag_id} ${hold.run_id}`}>
              {showDag ? (
                <td>
                  <ToDag dagId={hold.dag_id} />
                </td>
              ) : null}
              <td>
                {hold.partition_key === null ? null : <Text {...WIDE_KEY}>{hold.partition_key}</Text>}
                <Text fontSize="xs">
                  <ToRun dagId={hold.dag_id} runId={hold.run_id} />
                </Text>
              </td>
              <td>
                <LabelTags labels={hold.labels} />
                <Parts hold={hold} />
              </td>
              <td>
                <Because hold={hold} />
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
      {data.total_entries > data.holds.length && limit < 100 ? (
        <Button mt={2} onClick={() => setLimit(100)} size="sm" variant="outline">
          Show more of {data.total_entries.toLocaleString("en")}
        </Button>
      ) : null}
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

function Because({ hold }: { readonly hold: Hold }) {
  return (
    <Stack gap={0.5}>
      {hold.because.slice(0, 3).map((bad) => (
        <Text fontSize="sm" key={`${bad.asset_id} ${bad.partition_key}`} overflowWrap="anywhere">
          {bad.asset} <Text as="span" {...WIDE_KEY}>{keyText(bad.partition_key)}</Text>
          {bad.cord_id === null ? " (half-written by a stopped task)" : null}
        </Text>
      ))}
      {hold.cords.map((cord) => (
        <Text fontSize="sm" key={cord.cord_id}>
          <ToCord id={cord.cord_id} />
        </Text>
      ))}
    </Stack>
  );
}
