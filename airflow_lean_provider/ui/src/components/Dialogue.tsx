import { Button, CloseButton, Dialog, Portal, useBreakpointValue } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { Problem } from "./basics";

type Props = {
  readonly busy: boolean;
  readonly children: ReactNode;
  readonly danger?: boolean;
  readonly disabled?: boolean;
  readonly go: string;
  readonly hint?: ReactNode;
  readonly onClose: () => void;
  readonly onGo: () => void;
  readonly problem?: string;
  readonly size?: "md" | "lg" | "xl";
  readonly title: string;
};

/** A dialog that does one thing, on its button or on Ctrl and Enter; on a phone it takes the whole page. */
export function Dialogue({ busy, children, danger, disabled, go, hint, onClose, onGo, problem, size = "md", title }: Props) {
  const phone = useBreakpointValue({ base: true, md: false }) ?? false;
  return (
    <Dialog.Root lazyMount onOpenChange={({ open }) => !open && onClose()} open scrollBehavior="inside" size={phone ? "full" : size}>
      <Portal>
        <Dialog.Backdrop />
        <Dialog.Positioner>
          <Dialog.Content
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !disabled && !busy) onGo();
            }}
          >
            <Dialog.Header>
              <Dialog.Title>{title}</Dialog.Title>
            </Dialog.Header>
            <Dialog.Body>{children}</Dialog.Body>
            <Dialog.Footer alignItems="center" borderTopWidth={1} flexWrap="wrap" gap={3} pt={3}>
              {problem === undefined ? hint : <Problem>{problem}</Problem>}
              <Button onClick={onClose} variant="outline">
                Cancel
              </Button>
              <Button colorPalette={danger ? "red" : "brand"} disabled={disabled} loading={busy} onClick={onGo}>
                {go}
              </Button>
            </Dialog.Footer>
            <Dialog.CloseTrigger asChild>
              <CloseButton aria-label="Close" size="sm" />
            </Dialog.CloseTrigger>
          </Dialog.Content>
        </Dialog.Positioner>
      </Portal>
    </Dialog.Root>
  );
}
