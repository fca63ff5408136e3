// The chart library is served at /static/vendor/uplot; its types are those of the npm package.
export { default } from "uplot";
