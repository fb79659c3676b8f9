// The page of one deployment.
import { Acts } from "./acts.js";
import { DeviceTable } from "./device_table.js";
import { Drawer } from "./drawer.js";
import { Live } from "./live.js";
import { byId } from "./parts.js";

const live = new Live(byId("nx-details"), () => table.refresh());
const table = new DeviceTable(live);
live.start();
new Acts(live).start();
new Drawer(live).start();
table.start().catch((error) => live.failed(error));

// "/" leads to the search, unless somebody is typing.
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select, dialog")) return;
  event.preventDefault();
  byId("nx-query").focus();
});
