import { Box, HStack, Stack, Text } from "@chakra-ui/react";

import type { Cord, CordInBrief } from "../api/types";
import { OFTEN, useLoad } from "../api/useLoad";
import { count } from "../lib/words";
import { Ago, ToCord } from "./basics";
import { RepairCord } from "./CordActions";
import { Repairing, Severity, Who } from "./CordFacts";

const AT_MOST = 5;

/** Of each cord: why, by whom, since when, and what is awaited. */
export function CordsInBrief({ cords }: { readonly cords: readonly CordInBrief[] }) {
  const each = [...new Map(cords.map((cord) => [cord.cord_id, cord])).values()];
  if (each.length === 0) return null;
  return (
    <Stack aria-label="Cords" as="ul" gap={2} listStyleType="none" mb={3}>
      {each.slice(0, AT_MOST).map((cord) => (
        <InBrief brief={cord} key={cord.cord_id} />
      ))}
      {each.length > AT_MOST ? <li>and {count(each.length - AT_MOST, "more cord")}</li> : null}
    </Stack>
  );
}

function InBrief({ brief }: { readonly brief: CordInBrief }) {
  const { data: cord, reload } = useLoad<Cord>(`/cords/${brief.cord_id}`, () => OFTEN);
  return (
    <Box as="li" borderRadius="md" borderWidth={1} px={3} py={2}>
      <HStack justify="space-between" wrap="wrap">
        <HStack gap={3}>
          {cord ? <Severity cord={cord} /> : null}
          <ToCord id={brief.cord_id} />
        </HStack>
        {cord ? <RepairCord cord={cord} onDone={reload} small /> : null}
      </HStack>
      <Text fontWeight="medium" lineClamp={3} mt={1} overflowWrap="anywhere">
        {brief.reason}
      </Text>
      {cord ? (
        <>
          <Who cord={cord} />
          <Repairing cord={cord} />
          {cord.state !== "closed" && cord.partitions_asked === 0 ? (
            <Text fontSize="sm">Awaited: {cord.release_on === "publication" ? "the next publication, or the release of the cord" : "the release of the cord"}</Text>
          ) : null}
        </>
      ) : (
        <Text color="fg.muted" fontSize="sm">
          Pulled by {brief.pulled_by} <Ago moment={brief.pulled_at} />
        </Text>
      )}
    </Box>
  );
}

/** Beside the number of a cord: the button that repairs it, for whoever may. */
export function RepairOf({ id, onDone }: { readonly id: number; readonly onDone: () => void }) {
  const { data: cord, reload } = useLoad<Cord>(`/cords/${id}`, () => OFTEN);
  const done = () => {
    reload();
    onDone();
  };
  return cord ? <RepairCord cord={cord} onDone={done} small /> : null;
}
