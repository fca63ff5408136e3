/** The Config tab: a tab without charts whose YAML can be copied. */

import "../copying.js";
import "./tab.js";
