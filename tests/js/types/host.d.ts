/** The part of the host's page that this pack uses. Written from what the page does, not copied from it. */

interface HostInputSlot {
  name: string;
  type: string;
  link: number | null;
  label?: string;
  shape?: number;
  widget?: { name: string };
}

interface HostOutputSlot {
  name: string;
  type: string;
  links: number[] | null;
}

interface HostLink {
  id: number;
  origin_id: number | string;
  origin_slot: number;
  target_id: number | string;
  target_slot: number;
}

interface HostWidget {
  name: string;
  type: string;
  value: any;
  hidden?: boolean;
  serialize?: boolean;
  options: Record<string, any>;
  callback?: (value: any, ...more: any[]) => void;
  element?: HTMLElement;
  onRemove?: () => void;
  setLive?: (state: any) => void;
  levelsKey?: () => string | null;
  last_y?: number;
  computedHeight?: number;
  inputEl?: HTMLElement;
}

interface HostNode {
  id: number | string;
  type: string;
  comfyClass?: string;
  title: string;
  mode: number;
  size: [number, number];
  pos: [number, number];
  graph: HostGraph | null;
  subgraph?: HostGraph;
  inputs: HostInputSlot[];
  outputs: HostOutputSlot[];
  widgets?: HostWidget[];
  properties: Record<string, any>;
  constructor: Function & { nodeData?: HostNodeDef };
  addInput(name: string, type: string, extra?: Partial<HostInputSlot> & Record<string, any>): HostInputSlot;
  removeInput(slot: number): void;
  addDOMWidget(name: string, type: string, element: HTMLElement, options?: Record<string, any>): HostWidget;
  computeSize(): [number, number];
  setSize(size: [number, number]): void;
  setDirtyCanvas(foreground: boolean, background?: boolean): void;
  getInputNode(slot: number): HostNode | null;
  findInputSlot(name: string): number;
  onConnectionsChange?: (side: number, slot: number, connected: boolean, link: HostLink | null, io: any) => void;
  onConfigure?: (data: any) => void;
  onAdded?: (graph: HostGraph) => void;
  onRemoved?: () => void;
  onResize?: (size: [number, number]) => void;
}

interface HostGraph {
  id?: string;
  nodes: HostNode[];
  rootGraph?: HostGraph;
  isRootGraph?: boolean;
  links: Map<number, HostLink> | Record<number, HostLink>;
  getNodeById(id: number | string): HostNode | null;
  getLink?(id: number): HostLink | undefined;
  setDirtyCanvas(foreground: boolean, background?: boolean): void;
  beforeChange(): void;
  afterChange(): void;
  change(): void;
}

interface HostNodeDef {
  name: string;
  display_name: string;
  input: { required?: Record<string, any>; optional?: Record<string, any>; hidden?: Record<string, any> };
  input_order?: { required?: string[]; optional?: string[] };
}

interface HostCommand {
  id: string;
  label: string;
  icon?: string;
  function: () => void | Promise<void>;
}

interface HostExtension {
  name: string;
  commands?: HostCommand[];
  menuCommands?: { path: string[]; commands: string[] }[];
  getNodeMenuItems?(node: HostNode): object[];
  getSelectionToolboxCommands?(item: any): string[];
  init?(app: HostApp): void | Promise<void>;
  setup?(app: HostApp): void | Promise<void>;
  beforeRegisterNodeDef?(type: Function, definition: HostNodeDef, app: HostApp): void | Promise<void>;
  nodeCreated?(node: HostNode, app: HostApp): void;
  loadedGraphNode?(node: HostNode, app: HostApp): void;
  afterConfigureGraph?(missing: unknown[], app: HostApp): void | Promise<void>;
}

interface HostApp {
  graph?: HostGraph;
  canvas: any;
  registerExtension(extension: HostExtension): void;
  configuringGraph?: boolean;
  extensionManager: any;
}

interface HostApi extends EventTarget {
  addEventListener(type: string, listener: (event: CustomEvent) => void, options?: AddEventListenerOptions): void;
  removeEventListener(type: string, listener: (event: CustomEvent) => void): void;
  fetchApi(route: string, options?: RequestInit): Promise<Response>;
  clientId?: string;
}

interface Window {
  LiteGraph: any;
}

declare module "*/scripts/app.js" {
  export const app: HostApp;
}

declare module "*/scripts/api.js" {
  export const api: HostApi;
}
