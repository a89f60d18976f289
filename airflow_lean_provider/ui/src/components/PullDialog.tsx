import { Box, Button, Field, Heading, HStack, Input, NativeSelect, Stack, Text, Textarea } from "@chakra-ui/react";
import { useEffect, useMemo, useRef, useState } from "react";
import { useNavigate } from "react-router-dom";

import { ApiError, pathWith, send } from "../api/client";
import type { Arrival, Asset, Assets, Plan, Pulled, Scope, Severity } from "../api/types";
import { useLoad } from "../api/useLoad";
import { scopeOf, type Selection } from "../lib/selection";
import { useAct, useRequestKeys } from "../lib/useAct";
import { cordPath, Problem, StateTag, Waiting } from "./basics";
import { Dialogue } from "./Dialogue";
import { PartitionPicker } from "./PartitionPicker";
import { PlanView } from "./PlanView";

type Target = { readonly asset?: Pick<Asset, "asset_id" | "name">; readonly run?: Scope["run"] };

/** Marks partitions as bad: which, why, what that does, and the button; all on one page. */
export function PullDialog({ asset: given, onClose, run }: Target & { readonly onClose: () => void }) {
  const navigate = useNavigate();
  const [asset, setAsset] = useState(given);
  const [selection, setSelection] = useState<Selection>({ by: "keys", keys: new Set() });
  const [reason, setReason] = useState("");
  const [severity, setSeverity] = useState<Severity | "">("");
  const keyFor = useRequestKeys();
  const scope = useMemo<Scope | null>(
    () => (run ? { run } : asset ? scopeOf(asset.asset_id, selection) : null),
    [asset, run, selection],
  );
  const { error, plan, planning } = usePlan(scope, severity);
  const { act, busy, problem } = useAct<Pulled>(({ cord_id: cord, existed }) => {
    onClose();
    void navigate(cordPath(cord), { state: { existed } satisfies Arrival });
  });
  const pull = () => {
    const body = { ...scope, reason, severity: severity || null };
    return act("/cords", { ...body, request_key: keyFor(body) });
  };
  const lacking = scope === null ? "Say which partitions." : reason.trim() === "" ? "Say why." : undefined;

  return (
    <Dialogue
      busy={busy}
      danger
      disabled={lacking !== undefined || error !== undefined || plan?.may_pull === false}
      go="Pull the cord"
      hint={<Text color="fg.muted" fontSize="sm">{plan?.may_pull === false ? "You may look at the plan, not pull." : lacking}</Text>}
      onClose={onClose}
      onGo={() => void pull()}
      problem={problem}
      size="xl"
      title={run ? "Pull the cord on what this published" : asset ? `Pull the cord on ${asset.name}` : "Pull the cord"}
    >
      <Stack gap={5}>
        {run ? null : asset ? (
          <Box>
            <HStack justify="space-between" mb={1}>
              <Heading as="h3" size="sm">
                Which partitions are bad?
              </Heading>
              {given ? null : (
                <Button
                  onClick={() => {
                    setAsset(undefined);
                    setSelection({ by: "keys", keys: new Set() });
                  }}
                  size="xs"
                  variant="ghost"
                >
                  Another asset
                </Button>
              )}
            </HStack>
            <PartitionPicker assetId={asset.asset_id} key={asset.asset_id} onChange={setSelection} selection={selection} />
          </Box>
        ) : (
          <AssetSearch onPick={setAsset} />
        )}
        {run || asset ? (
          <Stack direction={{ base: "column", md: "row" }} gap={4}>
            <Field.Root flex={3} required>
              <Field.Label>What is wrong?</Field.Label>
              <Textarea
                maxLength={10_000}
                onChange={(event) => setReason(event.target.value)}
                placeholder="Everybody who waits will read this"
                rows={2}
                value={reason}
              />
            </Field.Root>
            <Field.Root flex={2}>
              <Field.Label>What shall happen?</Field.Label>
              <NativeSelect.Root>
                <NativeSelect.Field onChange={(event) => setSeverity(event.target.value as Severity | "")} value={severity}>
                  <option value="">As the asset says{plan && severity === "" ? ` (${plan.severity})` : ""}</option>
                  <option value="stop">Stop what reads it</option>
                  <option value="warn">Only warn</option>
                </NativeSelect.Field>
                <NativeSelect.Indicator />
              </NativeSelect.Root>
            </Field.Root>
          </Stack>
        ) : null}
        {scope ? (
          <Box aria-live="polite">
            <Heading as="h3" mb={2} size="sm">
              What happens then
            </Heading>
            {error ? <Problem>{error}</Problem> : null}
            {plan ? (
              <Box data-plan={planning ? "planning" : "settled"} opacity={planning ? 0.6 : 1}>
                <PlanView plan={plan} />
              </Box>
            ) : error ? null : (
              <Waiting height="12rem" what="the plan" />
            )}
          </Box>
        ) : null}
      </Stack>
    </Dialogue>
  );
}

const PAUSE = 250;

/** Ask for the plan whenever something else is meant: at once, or a moment after the last of many changes. */
function usePlan(scope: Scope | null, severity: Severity | "") {
  const [state, setState] = useState<{ plan?: Plan; error?: string; planning: boolean }>({ planning: false });
  const changed = useRef(-Infinity);
  useEffect(() => {
    const sinceLast = performance.now() - changed.current;
    changed.current = performance.now();
    if (scope === null) {
      setState({ planning: false });
      return undefined;
    }
    const leaving = new AbortController();
    setState((before) => ({ plan: before.plan, planning: true }));
    const timer = setTimeout(() => {
      send<Plan>("/cords/preview", { ...scope, severity: severity || null, limit: 50 }, { signal: leaving.signal }).then(
        (plan) => setState({ plan, planning: false }),
        (error: unknown) => {
          if (!leaving.signal.aborted) setState({ error: error instanceof ApiError ? error.message : String(error), planning: false });
        },
      );
    }, sinceLast > PAUSE ? 0 : PAUSE);
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
  }, [scope, severity]);
  return state;
}

function AssetSearch({ onPick }: { readonly onPick: (asset: Asset) => void }) {
  const [text, setText] = useState("");
  const found = useLoad<Assets>(pathWith("/assets", { may_pull: true, text, limit: 12, order_by: "name" }));
  const [last, setLast] = useState<Assets>();
  if (found.data !== undefined && found.data !== last) setLast(found.data);
  const [entered, setEntered] = useState(false);
  const first = found.data?.assets[0];
  useEffect(() => {
    if (entered && first) onPick(first);
  }, [entered, first, onPick]);
  return (
    <Box>
      <Field.Root mb={2}>
        <Field.Label>Which asset?</Field.Label>
        <Input
          autoFocus
          onChange={(event) => {
            setText(event.target.value);
            setEntered(false);
          }}
          onKeyDown={(event) => setEntered(event.key === "Enter")}
          placeholder="Name or uri; Enter takes the first"
          value={text}
        />
      </Field.Root>
      {found.error ? <Problem>{found.error.message}</Problem> : null}
      <Stack as="ul" gap={1} listStyleType="none">
        {last?.assets.map((asset) => (
          <li key={asset.asset_id}>
            <Button justifyContent="start" onClick={() => onPick(asset)} size="sm" variant="ghost" width="100%">
              {asset.name}
              {asset.halted > 0 ? <StateTag state="halted" /> : asset.bad > 0 ? <StateTag state="bad" /> : null}
            </Button>
          </li>
        ))}
      </Stack>
      {last && last.total_entries > last.assets.length ? (
        <Text color="fg.muted" fontSize="sm">
          and {last.total_entries - last.assets.length} more: type a part of the name
        </Text>
      ) : null}
      {last?.total_entries === 0 ? <Text color="fg.muted">You may pull on no asset that is called like that.</Text> : null}
    </Box>
  );
}
