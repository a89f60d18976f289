import { Box, HStack, Progress, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { pathWith } from "../api/client";
import type { AssetOfCord, Awaited, Cord, CordPartitions } from "../api/types";
import { OFTEN, useLoad } from "../api/useLoad";
import { count, keyText } from "../lib/words";
import { Ago, Tag, ToAsset, ToRun, WIDE_KEY } from "./basics";

/** The assets of a cord, with the first of their partitions, and what it covers of what is published later. */
export function Assets({ cord }: { readonly cord: Cord }) {
  const published = cord.assets.filter((asset) => asset.partitions > 0);
  const named = new Set(published.map((asset) => asset.asset_id));
  return (
    <>
      {published.map((asset) => (
        <HStack align="baseline" columnGap={2} key={asset.asset_id} rowGap={0} wrap="wrap">
          <ToAsset id={asset.asset_id} name={asset.name} />
          <Text {...WIDE_KEY} fontWeight="normal">
            {keysOf(asset)}
          </Text>
          {cord.scopes
            .filter((scope) => scope.asset_id === asset.asset_id && scope.ended_at === null)
            .map(({ covers }) => (
              <Later key={covers}>and what is published later: {covers}</Later>
            ))}
        </HStack>
      ))}
      {cord.scopes
        .filter((scope) => !named.has(scope.asset_id))
        .map(({ asset, asset_id, covers, ended_at }) => (
          <HStack align="baseline" columnGap={2} key={`${asset_id} ${covers}`} rowGap={0} wrap="wrap">
            <ToAsset id={asset_id} name={asset} />
            <Later>
              {ended_at === null ? "what is published from now on" : "what would have been published"}: {covers}
            </Later>
          </HStack>
        ))}
      {cord.hidden_assets > 0 ? (
        <Text color="fg.muted" fontSize="sm" fontWeight="normal">
          and {count(cord.hidden_assets, "asset")} that you may not see
        </Text>
      ) : null}
    </>
  );
}

const Later = ({ children }: { readonly children: ReactNode }) => (
  <Text fontSize="sm" fontWeight="normal" overflowWrap="anywhere">
    {children}
  </Text>
);

function keysOf({ first_keys: keys, partitions }: AssetOfCord): string {
  const shown = keys.slice(0, 3);
  if (shown.length === 1 && shown[0] === null) return "as a whole";
  const more = partitions - shown.length;
  return shown.map(keyText).join(", ") + (more > 0 ? ` and ${more.toLocaleString("en")} more` : "");
}

export function Severity({ cord }: { readonly cord: Cord }) {
  if (cord.state === "closed") return <Tag palette="gray">closed</Tag>;
  return cord.severity === "stop" ? <Tag palette="red">stop</Tag> : <Tag palette="orange">warn</Tag>;
}

/** Who, since when, and whether somebody is on it. */
export function Who({ cord }: { readonly cord: Cord }) {
  return (
    <Text color="fg.muted" fontSize="sm" overflowWrap="anywhere">
      Pulled by {cord.pulled_by} <Ago moment={cord.pulled_at} />
      {cord.acknowledged_by !== null && cord.acknowledged_at !== null ? (
        <>
          {" · "}
          {cord.acknowledged_by} is on it (<Ago moment={cord.acknowledged_at} />)
          {cord.acknowledged_note ? `: ${cord.acknowledged_note}` : ""}
        </>
      ) : cord.closed_at === null ? (
        <Text as="span" color="red.fg" fontWeight="medium">
          {" · "}nobody is on it yet
        </Text>
      ) : null}
      {cord.closed_at === null ? null : (
        <>
          {" · "}closed <Ago moment={cord.closed_at} />
        </>
      )}
      {cord.state === "settling" ? " · still settling: readers are being held and stopped" : ""}
    </Text>
  );
}

/** How far the repair is, and what the release waits for. */
export function Repairing({ cord }: { readonly cord: Cord }) {
  const { done, to_do: left } = cord.progress;
  const all = done + left;
  return (
    <>
      {all > 0 && (done > 0 || cord.partitions_asked > 0) ? (
        <Box maxW="26rem">
          <Progress.Root aria-label="Repair" colorPalette="green" max={all} size="sm" value={done}>
            <Progress.Track>
              <Progress.Range />
            </Progress.Track>
          </Progress.Root>
          <Text fontSize="sm" mt={1}>
            {done} of {count(all, "run")} done
          </Text>
        </Box>
      ) : null}
      {cord.partitions_asked > 0 ? <Asked cord={cord} /> : null}
    </>
  );
}

function Asked({ cord }: { readonly cord: Cord }) {
  const { data } = useLoad<CordPartitions>(pathWith(`/cords/${cord.cord_id}/partitions`, { open: true, limit: 20 }), () => OFTEN);
  const first = data?.partitions.find((partition) => partition.awaits !== null);
  return (
    <Text fontSize="sm" overflowWrap="anywhere">
      The release of {count(cord.partitions_asked, "partition")} is asked for
      {first?.awaits ? (
        <>
          {" and waits for "}
          <AwaitedText awaits={first.awaits} />
        </>
      ) : null}
    </Text>
  );
}

export function AwaitedText({ awaits }: { readonly awaits: Awaited }) {
  return (
    <>
      {awaits.text}
      {awaits.tasks.length > 0 ? ": " : ""}
      {awaits.tasks.slice(0, 3).map((task, index) => (
        <span key={`${task.dag_id} ${task.run_id} ${task.task_id} ${task.map_index}`}>
          {index > 0 ? ", " : ""}
          <ToRun dagId={task.dag_id} mapIndex={task.map_index} runId={task.run_id} taskId={task.task_id} />
        </span>
      ))}
      {awaits.tasks.length > 3 ? ` and ${awaits.tasks.length - 3} more` : ""}
      {awaits.hidden > 0 ? ` and ${awaits.hidden} that you may not see` : ""}
    </>
  );
}
