/**
 * Redirects from addresses of MLflow's own web page to the run.
 *
 * MLflow's client prints such a link when a run ends. The part after # never reaches the server, so
 * the browser has to resolve it.
 */

/**
 * @param {string} hash of the address
 * @param {Record<string, string>} projects names by MLflow's experiment number
 * @returns {string | null} the address here
 */
export function targetOf(hash, projects) {
  const [, experiment, run] =
    hash.match(/^#\/experiments\/(\d+)(?:\/runs\/([a-z0-9]{1,16}))?\/?$/) ?? [];
  if (run) return `/runs/${run}/`;
  const project = projects[experiment];
  return project ? `/?${new URLSearchParams({ project })}` : null;
}

/** @param {Record<string, string>} projects */
export function followMlflowLinks(projects) {
  const redirect = () => {
    const target = targetOf(location.hash, projects);
    if (target) location.replace(target);
  };
  redirect();
  addEventListener("hashchange", redirect);
}
