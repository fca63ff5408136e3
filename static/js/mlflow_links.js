/** What MLflow's client prints when a run ends is a link to a place in MLflow's own page, which the server never sees: here it leads to the run. */

/** @param {string} hash of the address @param {Record<string, string>} projects names by the number that MLflow's client knows @returns {string | null} */
export function placeOf(hash, projects) {
  const [, experiment, run] = hash.match(/^#\/experiments\/(\d+)(?:\/runs\/([a-z0-9]{1,16}))?\/?$/) ?? [];
  if (run) return `/runs/${run}/`;
  const project = projects[experiment];
  return project ? `/?${new URLSearchParams({ project })}` : null;
}

/** @param {Record<string, string>} projects */
export function followMlflowLinks(projects) {
  const go = () => {
    const place = placeOf(location.hash, projects);
    if (place) location.replace(place);
  };
  go();
  addEventListener("hashchange", go);
}
