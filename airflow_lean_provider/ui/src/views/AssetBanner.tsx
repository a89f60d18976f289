import { Box, Button, HStack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useMatch } from "react-router-dom";

import type { Asset } from "../api/types";
import { OFTEN, SELDOM, useLoad } from "../api/useLoad";
import { ToCord } from "../components/basics";
import { PullDialog } from "../components/PullDialog";
import { count } from "../lib/words";

/** On the page of an asset, for which Airflow has no place of its own: how it stands, and the cord. */
export function AssetBanner() {
  const id = useMatch("/assets/:assetId/*")?.params.assetId ?? "";
  return /^\d+$/.test(id) ? <Banner id={Number(id)} key={id} /> : null;
}

function Banner({ id }: { readonly id: number }) {
  const [pulling, setPulling] = useState(false);
  const { data: asset } = useLoad<Asset>(`/assets/${id}`, (found) => (found && found.open_cords.length + found.bad > 0 ? OFTEN : SELDOM));
  if (asset === undefined) return null;
  const troubled = asset.halted + asset.bad + asset.open_cords.length > 0;
  if (!troubled && !asset.may_pull) return null;
  const colour = asset.halted > 0 ? "red" : troubled ? "orange" : "gray";
  return (
    <Box aria-label="Andon" as="section" className="andon" bg="bg.muted" borderRadius="md" boxShadow="inset 4px 0 0 0 var(--shadow-color)" boxShadowColor={`${colour}.solid`} mb={2} px={4} py={2}>
      <HStack columnGap={4} justify="space-between" wrap="wrap">
        <Text>
          {asset.halted > 0 ? `${count(asset.halted, "partition")} halted` : ""}
          {asset.bad > 0 ? `${asset.halted > 0 ? ", " : ""}${count(asset.bad, "partition")} bad because of data upstream` : ""}
          {asset.open_cords.slice(0, 3).map((cord) => (
            <Text as="span" key={cord} ms={3}>
              <ToCord id={cord} />
            </Text>
          ))}
          {asset.open_cords.length > 3 ? ` and ${asset.open_cords.length - 3} more` : ""}
          {troubled ? "" : "No partition of this asset is known to be bad."}
        </Text>
        {asset.may_pull ? (
          <Button colorPalette="red" onClick={() => setPulling(true)} size="sm" variant={troubled ? "solid" : "outline"}>
            Pull the cord
          </Button>
        ) : null}
      </HStack>
      {pulling ? <PullDialog asset={asset} onClose={() => setPulling(false)} /> : null}
    </Box>
  );
}
