/** The tab with a run's definition: like every tab, and its text can be copied. */

import "../copying.js";
import "./tab.js";
