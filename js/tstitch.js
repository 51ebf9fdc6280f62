// The one extension of this pack: tells its parts about nodes and server messages.

import { app } from "../../scripts/app.js";
import { addToOldMenu, COMMAND, isInChain, loadTexts, menuItems, stitchSelected } from "./convert.js";
import { keepDecimals } from "./decimals.js";
import { listenToRuns, showKnownRuns } from "./live.js";
import { manageSockets } from "./sockets.js";
import { addTimeline } from "./timeline/registration.js";

/** @param {HostNode} node */
function isOurs(node) {
  return (node.comfyClass ?? node.type ?? "").startsWith("TStitch");
}

listenToRuns(); // at once: a run may be under way, and the page complains of messages that nobody waits for

app.registerExtension({
  name: "tstitch.page",

  commands: [
    { id: COMMAND, label: "Stitch into one loop", icon: "pi pi-link", function: stitchSelected },
  ],
  menuCommands: [{ path: ["Extensions", "T-Stitch"], commands: [COMMAND] }],

  setup() {
    void loadTexts();
  },

  beforeRegisterNodeDef(type, definition) {
    addToOldMenu(type, definition);
  },

  getNodeMenuItems(node) {
    return menuItems(node);
  },

  getSelectionToolboxCommands(item) {
    return isInChain(item) ? [COMMAND] : [];
  },

  afterConfigureGraph() {
    showKnownRuns();
  },

  nodeCreated(node) {
    if (isOurs(node)) {
      keepDecimals(node);
      manageSockets(node);
      addTimeline(node);
    }
  },
});
